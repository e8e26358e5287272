//! The request headers that determine how the body is read.

use super::{
    refusal::{Fault, clip},
    revision::Revision,
};

/// The relevant headers, each at most once.
///
/// ```
/// use tollgate::mcp::{Headers, Revision};
///
/// let sent: [(&str, &[u8]); 2] = [("content-type", b"application/json"), ("mcp-protocol-version", b"2025-11-25")];
/// let headers = Headers::collect(sent)?;
/// assert_eq!(headers.revision()?, Revision::V2025_11_25);
/// # Ok::<(), tollgate::mcp::Fault>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Headers<'a> {
    /// `Content-Type`
    pub content_type: Option<&'a str>,
    /// `Content-Encoding`
    pub content_encoding: Option<&'a str>,
    /// `MCP-Protocol-Version`
    pub protocol_version: Option<&'a str>,
    /// `Mcp-Method`
    pub method: Option<&'a str>,
    /// `Mcp-Name`
    pub name: Option<&'a str>,
}

impl<'a> Headers<'a> {
    /// Collects them from all headers; names are case-insensitive.
    ///
    /// # Errors
    /// [`Fault::Header`] if one appears twice, since proxy and server may choose differently, or is not ASCII.
    pub fn collect(fields: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Result<Self, Fault> {
        let mut headers = Self::default();
        for (name, value) in fields {
            let Some((name, place)) = headers.place(name) else { continue };
            let text = std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|byte| matches!(byte, b'\t' | b' '..=b'~')));
            let twice = place.replace(text.ok_or(Fault::Header(name))?.trim_matches([' ', '\t'])).is_some();
            if twice {
                return Err(Fault::Header(name));
            }
        }
        Ok(headers)
    }

    fn place(&mut self, name: &str) -> Option<(&'static str, &mut Option<&'a str>)> {
        let places = [
            ("Content-Type", &mut self.content_type),
            ("Content-Encoding", &mut self.content_encoding),
            ("MCP-Protocol-Version", &mut self.protocol_version),
            ("Mcp-Method", &mut self.method),
            ("Mcp-Name", &mut self.name),
        ];
        places.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name))
    }

    /// The protocol revision; 2025-03-26 if none is named, as specified.
    ///
    /// # Errors
    /// [`Fault::Version`] if the header is not a date.
    pub fn revision(&self) -> Result<Revision, Fault> {
        match self.protocol_version {
            None => Ok(Revision::V2025_03_26),
            Some(version) => Revision::parse(version).ok_or_else(|| Fault::Version(clip(version))),
        }
    }

    /// The revision of the client's session, if the header names one.
    pub fn declared(&self) -> Option<Revision> {
        self.protocol_version.and_then(Revision::parse)
    }

    /// Checks that the body is declared as plain JSON in UTF-8.
    pub(super) fn check_media_type(&self) -> Result<(), Fault> {
        self.check_coding()?;
        let content_type = self.content_type.unwrap_or_default();
        let mut parts = content_type.split(';').map(str::trim);
        let is_json = parts.next().is_some_and(|essence| essence.eq_ignore_ascii_case("application/json"));
        if is_json && parts.all(is_harmless) { Ok(()) } else { Err(Fault::MediaType(clip(content_type))) }
    }

    /// Checks that the body is declared as unencoded text, of any type.
    pub(super) fn check_text(&self) -> Result<(), Fault> {
        self.check_coding()?;
        let content_type = self.content_type.unwrap_or_default();
        if content_type.split(';').skip(1).map(str::trim).all(is_harmless) { Ok(()) } else { Err(Fault::MediaType(clip(content_type))) }
    }

    fn check_coding(&self) -> Result<(), Fault> {
        match self.content_encoding.filter(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case("identity")) {
            Some(coding) => Err(Fault::ContentEncoding(clip(coding))),
            None => Ok(()),
        }
    }
}

/// Whether a parameter leaves the text unchanged. In another charset the same bytes may be different text.
fn is_harmless(parameter: &str) -> bool {
    let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
    let value = value.trim().trim_matches('"');
    // `utf8` is not registered, but common, and every list of encoding labels includes it.
    !name.trim().eq_ignore_ascii_case("charset") || ["utf-8", "utf8"].iter().any(|label| value.eq_ignore_ascii_case(label))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(content_type: &str) -> Result<(), Fault> {
        Headers { content_type: Some(content_type), ..Headers::default() }.check_media_type()
    }

    #[test]
    fn json_in_utf8_is_read() {
        for content_type in [
            "application/json",
            "Application/JSON; charset=UTF-8",
            "application/json;charset=\"utf-8\"; profile=x",
            "application/json; charset=utf8",
            "application/json; Charset=\"UTF8\"",
        ] {
            assert_eq!(typed(content_type), Ok(()), "{content_type}");
        }
    }

    #[test]
    fn other_types_and_charsets_are_not() {
        let others = ["", "text/plain", "application/json, text/plain", "application/json-seq", "application/json; charset=utf-16"];
        for content_type in others.into_iter().chain(["application/json; x=\"; charset=utf-7\"", "text/plain; application/json"]) {
            assert_eq!(typed(content_type), Err(Fault::MediaType(content_type.to_owned())), "{content_type}");
        }
        let zipped = Headers { content_type: Some("application/json"), content_encoding: Some("gzip"), ..Headers::default() };
        assert_eq!(zipped.check_media_type(), Err(Fault::ContentEncoding("gzip".to_owned())));
    }

    #[test]
    fn each_counts_once_in_any_case() {
        let fields: [(&str, &[u8]); 3] = [("MCP-NAME", b" search\t"), ("accept", b"\xff"), ("mcp-method", b"tools/call")];
        let headers = Headers::collect(fields).expect("each once");
        assert_eq!((headers.name, headers.method, headers.content_type), (Some("search"), Some("tools/call"), None));
        let twice: [(&str, &[u8]); 2] = [("mcp-name", b"a"), ("Mcp-Name", b"a")];
        assert_eq!(Headers::collect(twice), Err(Fault::Header("Mcp-Name")));
        let bytes: [(&str, &[u8]); 1] = [("content-type", b"application/json\xc3\xa9")];
        assert_eq!(Headers::collect(bytes), Err(Fault::Header("Content-Type")));
    }

    #[test]
    fn a_version_is_a_date_or_2025_03_26() {
        let of = |protocol_version| Headers { protocol_version, ..Headers::default() }.revision();
        assert_eq!(of(None), Ok(Revision::V2025_03_26));
        assert_eq!(of(Some("2026-07-28")), Ok(Revision::V2026_07_28));
        assert_eq!(of(Some("latest")), Err(Fault::Version("latest".to_owned())));
    }
}
