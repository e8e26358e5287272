//! Paths that mean the same to everyone.

/// Whether a path is unambiguous: after decoding, no segment is `..` or contains a slash.
pub(super) fn is_clean(path: &str) -> bool {
    let Some(rest) = path.strip_prefix('/') else { return false };
    let is_pathlike = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,=:@/%".contains(&byte);
    let lower = path.to_ascii_lowercase();
    let hides = ["%2e", "%2f", "%5c", "%25", "%00"].iter().any(|hidden| lower.contains(hidden));
    let leads_back = rest.split('/').any(|segment| matches!(segment, "." | ".."));
    path.bytes().all(is_pathlike) && !hides && !leads_back && !path.contains("//")
}
