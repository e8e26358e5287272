//! Templates: texts that manifests are rendered from.

use crate::model::subject::Kind;

/// Where a text that is not YAML proves to be a Go template, as in Helm charts: at its first `{{` outside of quotes and comments.
pub fn template(text: &str) -> Option<usize> {
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        if let Some((before, _)) = line.split_once("{{")
            && !before.contains(['#', '"', '\''])
        {
            return Some(start + before.len());
        }
        start += line.len();
    }
    None
}

/// Whether a template may give an object of our kinds, by its `kind:` lines: a CRD, a role or a ConfigMap that mentions them does not.
pub fn gives_ours(template: &str) -> bool {
    let kinds: Vec<_> = template.lines().filter_map(kind_in).collect();
    let is_ours = |kind: &str| Kind::from_name(kind).is_some() || kind.contains("{{");
    let mut at_top = kinds.iter().filter(|(is_top, _)| *is_top).peekable();
    if at_top.peek().is_none() {
        return kinds.iter().any(|(_, kind)| is_ours(kind));
    }
    at_top.any(|(_, kind)| is_ours(kind) || (kind.ends_with("List") && kinds.iter().any(|(_, inner)| is_ours(inner))))
}

/// What a line says of a kind, and whether it stands at the top of its document.
fn kind_in(line: &str) -> Option<(bool, &str)> {
    let inner = line.trim_start().trim_start_matches("- ").trim_start();
    let value = inner.strip_prefix("kind:").or_else(|| inner.strip_prefix("\"kind\":"))?.trim();
    let value = if value.contains("{{") { value } else { value.split(" #").next().unwrap_or_default().trim_end() };
    Some((inner.len() == line.len(), value.trim_end_matches(',').trim_matches(['"', '\''])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_quoted_or_a_comment_makes_no_template() {
        assert_eq!(template("a: 1\n{{- if .Values.a }}\n"), Some(5));
        assert_eq!(template("a: {{ include \"b\" . }}\n"), Some(3));
        assert_eq!(template("# {{ a }}\nb: \"{{ c }}\"\n\td: '{{ e }}'\n"), None);
    }

    #[test]
    fn a_template_gives_what_its_kind_says() {
        for ours in [
            "{{- if .x }}\nkind: MCPServer\n{{ end }}",
            "kind: \"VirtualMCPServer\" # ours\nspec: {{ .x }}",
            "kind: {{ .kind }} # MCPServer",
            "kind: List\nitems:\n{{- range .x }}\n- kind: MCPServer\n{{- end }}",
            "{{- range .x }}\n  - kind: MCPServer\n{{- end }}",
        ] {
            assert!(gives_ours(ours), "{ours}");
        }
        for other in [
            "{{- if .x }}\nkind: CustomResourceDefinition\nspec:\n  names:\n    kind: MCPServer\n{{- end }}",
            "kind: ConfigMap\ndata:\n  a: |\n    kind: MCPServer\n{{- end }}",
            "kind: ClusterRole # for MCPServer\nmetadata: {{ .x }}",
            "# MCPServer\n{{ .x }}",
        ] {
            assert!(!gives_ours(other), "{other}");
        }
    }
}
