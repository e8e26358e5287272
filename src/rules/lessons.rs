//! What there is to learn about each rule: why it is there, who else enforces it, and an example.
//!
//! An example is one text with two readings, so that what has to change is all that differs: lines that begin with `-` are those that break
//! the rule, lines that begin with `+` take their place, all others belong to both. A test judges both readings by the rules.

/// What stands behind a rule.
#[derive(Clone, Copy, Debug)]
pub struct Lesson {
    /// What goes wrong without it.
    pub why: &'static str,
    /// What the CRDs do about it by themselves, beside their CEL rules of the same id; empty when nothing.
    pub crd: &'static str,
    /// What the webhook does about it, beyond what its level says; empty when nothing.
    pub webhook: &'static str,
    /// An object, twice.
    pub example: Example,
}

/// An object that breaks a rule and, a few lines changed, passes.
#[derive(Clone, Copy, Debug)]
pub struct Example(&'static str);

impl Example {
    /// The lines, each with its mark: `-`, `+` or a space.
    pub fn lines(&self) -> impl Iterator<Item = &'static str> {
        self.0.lines()
    }

    /// The object that breaks the rule, as YAML.
    pub fn breaks(&self) -> String {
        self.reading('-')
    }

    /// The object that passes, as YAML.
    pub fn passes(&self) -> String {
        self.reading('+')
    }

    fn reading(&self, mark: char) -> String {
        let lines = self.lines().filter_map(|line| line.strip_prefix(' ').or_else(|| line.strip_prefix(mark)));
        lines.flat_map(|line| [line, "\n"]).collect()
    }
}

pub(super) const TG001: Lesson = Lesson {
    why: "Calls are counted where every replica of the server looks. Counted in memory, each replica would allow the whole limit by itself, \
          and a restart would forget what was used.",
    crd: "",
    webhook: "",
    example: Example(
        " apiVersion: toolhive.stacklok.dev/v1beta1
 kind: MCPServer
 spec:
-  sessionStorage: {provider: memory}
+  sessionStorage: {provider: redis, address: 'redis.default.svc:6379'}
   rateLimiting:
     global: {maxTokens: 100, refillPeriod: 1m0s}",
    ),
};

pub(super) const TG002: Lesson = Lesson {
    why: "A bucket for each user is found by the user's name, which is the verified subject that the caller signed in as. Where nobody signs \
          in, the limit would hold nobody.",
    crd: "",
    webhook: "",
    example: Example(
        " apiVersion: toolhive.stacklok.dev/v1beta1
 kind: MCPServer
 spec:
   sessionStorage: {provider: redis, address: 'redis.default.svc:6379'}
+  oidcConfigRef: {name: corp-oidc}
   rateLimiting:
     perUser: {maxTokens: 10, refillPeriod: 1m0s}",
    ),
};

pub(super) const TG003: Lesson = Lesson {
    why: "An empty block reads like a limit and is none. Often the key that was meant is misspelt.",
    crd: "",
    webhook: "",
    example: Example(
        " apiVersion: toolhive.stacklok.dev/v1beta1
 kind: MCPServer
 spec:
   sessionStorage: {provider: redis, address: 'redis.default.svc:6379'}
-  rateLimiting: {}
+  rateLimiting:
+    global: {maxTokens: 100, refillPeriod: 1m0s}",
    ),
};

pub(super) const TG004: Lesson = Lesson {
    why: "An entry of tools without a bucket limits nothing: calls of that tool draw on the server's own buckets with or without it.",
    crd: "",
    webhook: "",
    example: Example(
        " apiVersion: toolhive.stacklok.dev/v1beta1
 kind: MCPServer
 spec:
   sessionStorage: {provider: redis, address: 'redis.default.svc:6379'}
   rateLimiting:
     tools:
-    - {name: search}
+    - {name: search, global: {maxTokens: 30, refillPeriod: 1m0s}}",
    ),
};

pub(super) const TG005: Lesson = Lesson {
    why: "A call looks its tool up by name. Of two entries with one name only one could count, and an entry without a name is never found.",
    crd: "The schema keys tools by name, so the API server refuses a second entry of the same name, and it wants a name of at least one \
          character.",
    webhook: "",
    example: Example(
        " apiVersion: toolhive.stacklok.dev/v1beta1
 kind: MCPServer
 spec:
   sessionStorage: {provider: redis, address: 'redis.default.svc:6379'}
   rateLimiting:
     tools:
     - {name: search, global: {maxTokens: 30, refillPeriod: 1m0s}}
-    - {name: search, global: {maxTokens: 5, refillPeriod: 1s}}
+    - {name: fetch, global: {maxTokens: 5, refillPeriod: 1s}}",
    ),
};

pub(super) const TG006: Lesson = Lesson {
    why: "maxTokens is how many calls may be made at once, from a full bucket; a bucket that never holds one whole token lets no call \
          through. ToolHive reads the number into 32 bits.",
    crd: "The schema wants an integer from 1 to 2147483647.",
    webhook: "",
    example: Example(
        " apiVersion: toolhive.stacklok.dev/v1beta1
 kind: MCPServer
 spec:
   sessionStorage: {provider: redis, address: 'redis.default.svc:6379'}
   rateLimiting:
-    global: {maxTokens: 0.5, refillPeriod: 1s}
+    global: {maxTokens: 1, refillPeriod: 2s}",
    ),
};

pub(super) const TG007: Lesson = Lesson {
    why: "refillPeriod is the time in which an empty bucket is full again. ToolHive reads it with Go's time.ParseDuration: numbers, each with \
          a unit out of ns, us, ms, s, m and h. A day is 24h.",
    crd: "The schema wants a text of 1 to 32 characters, whatever it says.",
    webhook: "",
    example: Example(
        " apiVersion: toolhive.stacklok.dev/v1beta1
 kind: MCPServer
 spec:
   sessionStorage: {provider: redis, address: 'redis.default.svc:6379'}
   rateLimiting:
-    global: {maxTokens: 5000, refillPeriod: 1d}
+    global: {maxTokens: 5000, refillPeriod: 24h}",
    ),
};

pub(super) const TG008: Lesson = Lesson {
    why: "shared is the old name of global. With a limit under each name, the one that counts would depend on who reads the object.",
    crd: "",
    webhook: "/mutate first settles what it can: where the request states only one of the two, that one counts. What is left are requests \
              that state both, and managers that disagree; the message names them.",
    example: Example(
        " apiVersion: toolhive.stacklok.dev/v1beta1
 kind: MCPServer
 spec:
   sessionStorage: {provider: redis, address: 'redis.default.svc:6379'}
   rateLimiting:
     global: {maxTokens: 100, refillPeriod: 1m0s}
-    shared: {maxTokens: 60, refillPeriod: 1m0s}",
    ),
};

pub(super) const TG009: Lesson = Lesson {
    why: "The limits are counted in this Redis. An address that cannot be dialled or a password that cannot be found shows itself only when \
          the first call comes.",
    crd: "The schema wants a db of 0 or more, and a passwordRef and a CA's Secret with name and key. What the address says it does not look at.",
    webhook: "",
    example: Example(
        " apiVersion: toolhive.stacklok.dev/v1beta1
 kind: MCPServer
 spec:
   sessionStorage:
     provider: redis
-    address: redis://redis.default.svc
+    address: redis.default.svc:6379
   rateLimiting:
     global: {maxTokens: 100, refillPeriod: 1m0s}",
    ),
};

pub(super) const TG010: Lesson = Lesson {
    why: "Releases of ToolHive differ in where they look for the limits of a VirtualMCPServer. With limits at both places, the ones that \
          count change with the release.",
    crd: "",
    webhook: "",
    example: Example(
        " apiVersion: toolhive.stacklok.dev/v1beta1
 kind: VirtualMCPServer
 spec:
   sessionStorage: {provider: redis, address: 'redis.default.svc:6379'}
   rateLimiting:
     global: {maxTokens: 100, refillPeriod: 1m0s}
-  config:
-    rateLimiting:
-      global: {maxTokens: 200, refillPeriod: 1m0s}",
    ),
};

pub(super) const TG011: Lesson = Lesson {
    why: "A misspelt key is no limit. The API server drops fields that the schema does not know, and the object is stored without.",
    crd: "The API server prunes the field before anybody judges the object. kubectl refuses it by itself (--validate=strict, its default); \
          other clients are warned at most.",
    webhook: "The field is gone before a webhook is asked, unless the CRD keeps unknown fields there: it is to be found in the file.",
    example: Example(
        " apiVersion: toolhive.stacklok.dev/v1beta1
 kind: MCPServer
 spec:
   sessionStorage: {provider: redis, address: 'redis.default.svc:6379'}
   oidcConfigRef: {name: corp-oidc}
   rateLimiting:
     global: {maxTokens: 100, refillPeriod: 1m0s}
-    perUsers: {maxTokens: 10, refillPeriod: 1m0s}
+    perUser: {maxTokens: 10, refillPeriod: 1m0s}",
    ),
};

pub(super) const TG012: Lesson = Lesson {
    why: "Limits are read at spec.rateLimiting, and of a VirtualMCPServer at spec.config.rateLimiting too. Under another name or at another \
          place they limit nothing, and neither does an object whose API group is misspelt: nobody reads it.",
    crd: "The API server prunes the field before anybody judges the object, as with TG011.",
    webhook: "The field is gone before a webhook is asked, unless the CRD keeps unknown fields there: it is to be found in the file.",
    example: Example(
        " apiVersion: toolhive.stacklok.dev/v1beta1
 kind: MCPServer
 spec:
   sessionStorage: {provider: redis, address: 'redis.default.svc:6379'}
-  rateLimits:
+  rateLimiting:
     global: {maxTokens: 100, refillPeriod: 1m0s}",
    ),
};

pub(super) const TG101: Lesson = Lesson {
    why: "The limit of all callers together is called global now, the counterpart of perUser. Both names mean the same bucket, down to the \
          key in Redis, so changing the name resets nothing.",
    crd: "",
    webhook: "/mutate renames it and moves the ownership along, so that later requests behave as if the manifest said global. \
              --shared-alias has other ways: mirror, warn, deny. The annotation tollgate.dev/shared-alias: keep opts an object out.",
    example: Example(
        " apiVersion: toolhive.stacklok.dev/v1beta1
 kind: MCPServer
 spec:
   sessionStorage: {provider: redis, address: 'redis.default.svc:6379'}
   rateLimiting:
-    shared: {maxTokens: 100, refillPeriod: 1m0s}
+    global: {maxTokens: 100, refillPeriod: 1m0s}",
    ),
};

pub(super) const TG102: Lesson = Lesson {
    why: "A call has to pass every bucket that counts it. A bucket that is as large as a wider one above it, and refills as fast, is never \
          the first to run out: it costs a key in Redis and denies nothing.",
    crd: "",
    webhook: "",
    example: Example(
        " apiVersion: toolhive.stacklok.dev/v1beta1
 kind: MCPServer
 spec:
   sessionStorage: {provider: redis, address: 'redis.default.svc:6379'}
   rateLimiting:
     global: {maxTokens: 100, refillPeriod: 1m0s}
     tools:
-    - {name: search, global: {maxTokens: 500, refillPeriod: 5m0s}}
+    - {name: search, global: {maxTokens: 30, refillPeriod: 1m0s}}",
    ),
};

pub(super) const TG103: Lesson = Lesson {
    why: "MCP names tools with 1 to 128 letters, digits, and _ . -. Another name is mostly a title or a typo: no call carries it, and the limit \
          waits in vain.",
    crd: "",
    webhook: "",
    example: Example(
        " apiVersion: toolhive.stacklok.dev/v1beta1
 kind: MCPServer
 spec:
   sessionStorage: {provider: redis, address: 'redis.default.svc:6379'}
   rateLimiting:
     tools:
-    - {name: Web Search, global: {maxTokens: 30, refillPeriod: 1m0s}}
+    - {name: web_search, global: {maxTokens: 30, refillPeriod: 1m0s}}",
    ),
};

pub(super) const TG104: Lesson = Lesson {
    why: "refillPeriod is the time to refill all tokens, one by one. Who has used up 3 tokens of 24h waits 8 hours for the next one; whoever \
          expects three new ones at midnight is surprised.",
    crd: "",
    webhook: "",
    example: Example(
        " apiVersion: toolhive.stacklok.dev/v1beta1
 kind: MCPServer
 spec:
   sessionStorage: {provider: redis, address: 'redis.default.svc:6379'}
   rateLimiting:
-    global: {maxTokens: 3, refillPeriod: 24h}
+    global: {maxTokens: 3, refillPeriod: 1h}",
    ),
};

pub(super) const TG105: Lesson = Lesson {
    why: "Redis keeps a user's buckets for 2 x refillPeriod after the last call: one for the server, and one for each tool with perUser that \
          the user called. Long periods and many users fill its memory, at about 200 bytes a key.",
    crd: "",
    webhook: "",
    example: Example(
        " apiVersion: toolhive.stacklok.dev/v1beta1
 kind: MCPServer
 spec:
   sessionStorage: {provider: redis, address: 'redis.default.svc:6379'}
   oidcConfigRef: {name: corp-oidc}
   rateLimiting:
-    perUser: {maxTokens: 5000, refillPeriod: 24h}
+    perUser: {maxTokens: 500, refillPeriod: 1h}",
    ),
};

pub(super) const TG106: Lesson = Lesson {
    why: "A server whose sign-in configuration or password is not there lets nobody in, or does not start. Objects of one apply may come in \
          any order, so this only warns.",
    crd: "",
    webhook: "Looks only where it follows a cluster (in a pod, or with --kubeconfig), and for Secrets only in the namespaces of --secrets-in.",
    example: Example(
        " apiVersion: toolhive.stacklok.dev/v1beta1
 kind: MCPServer
 metadata: {name: search, namespace: default}
 spec:
   sessionStorage: {provider: redis, address: 'redis.default.svc:6379'}
-  oidcConfigRef: {name: corp-iodc}
+  oidcConfigRef: {name: corp-oidc}
   rateLimiting:
     perUser: {maxTokens: 10, refillPeriod: 1m0s}",
    ),
};

pub(super) const TG107: Lesson = Lesson {
    why: "ToolHive's operator as published reads shared and does not know global, whatever the CRD says: a limit that is stored as global \
          alone is missing from what it hands to its proxies, while its status says that all is well. And of a VirtualMCPServer it reads \
          the limits at spec.config.rateLimiting only.",
    crd: "",
    webhook: "With --shared-alias auto (the default) or mirror, shared is added where it is missing, so this warns only where neither may \
              act: under another mode, or where the object opts out. Looks only where it follows a cluster or the operator's finalizer \
              is on the object.",
    example: Example(
        " apiVersion: toolhive.stacklok.dev/v1beta1
 kind: MCPServer
 metadata:
   name: search
   finalizers: [mcpserver.toolhive.stacklok.dev/finalizer]
 spec:
   sessionStorage: {provider: redis, address: 'redis.default.svc:6379'}
   rateLimiting:
     global: {maxTokens: 60, refillPeriod: 1m0s}
+    shared: {maxTokens: 60, refillPeriod: 1m0s}",
    ),
};
