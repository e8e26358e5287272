//! What Envoy is told to do: pure.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, StatusCode, header::CONTENT_LENGTH};

use super::wire::{
    BoolValue, CheckResponse, DeniedHttpResponse, HeaderValue, HeaderValueOption, HttpResponse, HttpStatus, OkHttpResponse, Status,
};

/// gRPC's code for what is not permitted. Envoy treats all codes but 0 alike, and takes the HTTP status from the response.
const PERMISSION_DENIED: i32 = 7;

/// The request goes on, without these fields, and its response gets those.
pub fn allowed(removed: &[HeaderName], added: &HeaderMap) -> CheckResponse {
    let ok = OkHttpResponse {
        headers_to_remove: removed.iter().map(|name| name.as_str().to_owned()).collect(),
        response_headers_to_add: options(added),
    };
    CheckResponse { status: Some(Status { code: 0 }), http_response: Some(HttpResponse::Ok(ok)) }
}

/// The client gets this response.
pub fn denied(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> CheckResponse {
    let denied = DeniedHttpResponse {
        status: Some(HttpStatus { code: i32::from(status.as_u16()) }),
        headers: options(headers),
        // All bodies of ours are text.
        body: String::from_utf8_lossy(body).into_owned(),
    };
    CheckResponse { status: Some(Status { code: PERMISSION_DENIED }), http_response: Some(HttpResponse::Denied(denied)) }
}

/// Envoy sets the length by itself. The second field of a name is added to the first.
fn options(headers: &HeaderMap) -> Vec<HeaderValueOption> {
    let names = headers.keys().filter(|name| **name != CONTENT_LENGTH);
    let fields = names.flat_map(|name| headers.get_all(name).iter().enumerate().map(move |(at, value)| (name, at, value)));
    let option = |(name, at, value): (&HeaderName, usize, &http::HeaderValue)| HeaderValueOption {
        header: Some(HeaderValue {
            key: Bytes::copy_from_slice(name.as_str().as_bytes()),
            value: Bytes::copy_from_slice(value.as_bytes()),
            raw_value: Bytes::new(),
        }),
        append: (at > 0).then_some(BoolValue { value: true }),
    };
    fields.map(option).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_set_once_and_then_added() {
        let mut headers = HeaderMap::new();
        for (name, value) in [("vary", "a"), ("vary", "b"), ("retry-after", "1"), ("content-length", "7")] {
            headers.append(name, http::HeaderValue::from_static(value));
        }
        let set = |options: Vec<HeaderValueOption>| -> Vec<(String, bool)> {
            let text = |option: &HeaderValueOption| String::from_utf8_lossy(&option.header.clone().unwrap_or_default().value).into_owned();
            options.iter().map(|option| (text(option), option.append.is_some_and(|append| append.value))).collect()
        };
        assert_eq!(set(options(&headers)), [("a".to_owned(), false), ("b".to_owned(), true), ("1".to_owned(), false)]);
    }
}
