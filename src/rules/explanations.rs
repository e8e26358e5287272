//! Explanations of the rules: why each exists, what else enforces it, and an example.
//!
//! An example is one text with two readings, so that only the necessary changes differ: lines that begin with `-` break the rule, lines
//! that begin with `+` replace them, and all others belong to both. A test checks both readings against the rules.

/// The explanation of a rule.
#[derive(Clone, Copy, Debug)]
pub struct Explanation {
    /// What goes wrong without the rule.
    pub why: &'static str,
    /// What the CRDs themselves enforce, besides their CEL rules with the same id; empty if nothing.
    pub crd: &'static str,
    /// What the webhook does, beyond what the rule's level implies; empty if nothing.
    pub webhook: &'static str,
    /// An example object, in two readings.
    pub example: Example,
}

/// An object that breaks a rule, and passes with a few lines changed.
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

pub(super) const TG001: Explanation = Explanation {
    why: "All replicas of the server must share their counts. Counted in memory, each replica would allow the whole limit by itself, \
          and a restart would reset the counts.",
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

pub(super) const TG002: Explanation = Explanation {
    why: "A per-user bucket is identified by the verified subject that the caller signed in as. If callers do not sign in, the limit would \
          never apply.",
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

pub(super) const TG003: Explanation = Explanation {
    why: "An empty block looks like a limit but has no effect. Often a key is misspelt.",
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

pub(super) const TG004: Explanation = Explanation {
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

pub(super) const TG005: Explanation = Explanation {
    why: "Limits are looked up by tool name. If two entries have the same name, only one of them could apply, and an entry without a name \
          never applies.",
    crd: "The schema keys tools by name, so the API server rejects a second entry with the same name, and requires a name of at least one \
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

pub(super) const TG006: Explanation = Explanation {
    why: "maxTokens is how many calls may be made at once, from a full bucket; a bucket that never holds one whole token lets no call \
          through. ToolHive reads the number into 32 bits.",
    crd: "The schema requires an integer from 1 to 2147483647.",
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

pub(super) const TG007: Explanation = Explanation {
    why: "refillPeriod is the time in which an empty bucket is full again. ToolHive reads it with Go's time.ParseDuration: numbers, each with \
          a unit out of ns, us, ms, s, m and h. A day is 24h.",
    crd: "The schema requires a string of 1 to 32 characters, but does not check its format.",
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

pub(super) const TG008: Explanation = Explanation {
    why: "shared is the old name of global. With a limit under each name, the one that applies would depend on the \
          component that reads the object.",
    crd: "",
    webhook: "/mutate first resolves what it can: if the request changes only one of the two, that one applies. This leaves requests that \
              change both, and managers that disagree; the message names them.",
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

pub(super) const TG009: Explanation = Explanation {
    why: "The limits are counted in this Redis. An invalid address or a missing password would only be noticed on the first call.",
    crd: "The schema requires a db of 0 or more, and name and key in passwordRef and in the reference to the CA. It does not check the \
          address.",
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

pub(super) const TG010: Explanation = Explanation {
    why: "Releases of ToolHive differ in where they look for the limits of a VirtualMCPServer. With limits at both places, the \
          release decides which ones apply.",
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

pub(super) const TG011: Explanation = Explanation {
    why: "A misspelt key is not a limit. The API server drops unknown fields, and stores the object without them.",
    crd: "The API server prunes the field before the object is validated. kubectl rejects it by itself (--validate=strict, its default); \
          other clients get a warning at most.",
    webhook: "The field is removed before webhooks are called, unless the CRD preserves unknown fields there: check the file instead.",
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

pub(super) const TG012: Explanation = Explanation {
    why: "Limits are read at spec.rateLimiting, and of a VirtualMCPServer at spec.config.rateLimiting too. Under another name or at another \
          place they have no effect, and an object whose API group is misspelt is not read at all.",
    crd: "The API server prunes the field before the object is validated, as with TG011.",
    webhook: "The field is removed before webhooks are called, unless the CRD preserves unknown fields there: check the file instead.",
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

pub(super) const TG101: Explanation = Explanation {
    why: "The limit for all callers together is now called global, the counterpart of perUser. Both names refer to the same bucket, with \
          the same key in Redis, so changing the name resets nothing.",
    crd: "",
    webhook: "/mutate renames it and transfers its ownership, so that later requests behave as if the manifest used global. \
              --shared-alias has other modes: mirror, warn, deny. The annotation tollgate.dev/shared-alias: keep opts an object out.",
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

pub(super) const TG102: Explanation = Explanation {
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

pub(super) const TG103: Explanation = Explanation {
    why: "MCP names tools with 1 to 128 letters, digits, and _ . -. Any other name is usually a title or a typo: no call uses it, and the limit \
          never applies.",
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

pub(super) const TG104: Explanation = Explanation {
    why: "refillPeriod is the time to refill all tokens, one by one. A caller that has used up 3 tokens of 24h waits 8 hours for the next \
          one, and does not get three new ones at midnight.",
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

pub(super) const TG105: Explanation = Explanation {
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

pub(super) const TG106: Explanation = Explanation {
    why: "A server whose sign-in configuration or password is missing rejects all callers, or does not start. The objects of one apply may \
          arrive in any order, so this only warns.",
    crd: "",
    webhook: "Checked only with cluster access (in a pod, or with --kubeconfig), and for Secrets only in the namespaces of --secrets-in.",
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

pub(super) const TG107: Explanation = Explanation {
    why: "ToolHive's published operator reads shared and ignores global, whatever the CRD has: a limit that is stored as global alone is \
          missing from the configuration of its proxies, although its status reports no problem. And of a VirtualMCPServer it reads only \
          the limits at spec.config.rateLimiting.",
    crd: "",
    webhook: "With --shared-alias auto (the default) or mirror, a missing shared is added, so this warns only in other modes, or if the \
              object opts out. Checked only with cluster access or if the operator's finalizer is on the object.",
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
