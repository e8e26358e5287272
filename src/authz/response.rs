//! The responses to Envoy: what it should do with a request. No IO.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, StatusCode, header::CONTENT_LENGTH};

use super::wire::{CheckResponse, DeniedHttpResponse, HeaderValue, HeaderValueOption, HttpResponse, HttpStatus, OkHttpResponse, Status};

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

/// Envoy sets the length by itself, and keeps one field of a name in a denied response: several are joined, as HTTP allows.
fn options(headers: &HeaderMap) -> Vec<HeaderValueOption> {
    let names = headers.keys().filter(|name| **name != CONTENT_LENGTH);
    let option = |name: &HeaderName| {
        let values: Vec<_> = headers.get_all(name).iter().map(http::HeaderValue::as_bytes).collect();
        let key = Bytes::copy_from_slice(name.as_str().as_bytes());
        let header = HeaderValue { key, value: values.join(&b", "[..]).into(), raw_value: Bytes::new() };
        HeaderValueOption { header: Some(header), append: None }
    };
    names.map(option).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_one_name_are_joined() {
        let mut headers = HeaderMap::new();
        for (name, value) in [("vary", "a"), ("vary", "b"), ("content-length", "7")] {
            headers.append(name, http::HeaderValue::from_static(value));
        }
        let values: Vec<_> = options(&headers).into_iter().filter_map(|option| Some(option.header?.value)).collect();
        assert_eq!(values, ["a, b"]);
    }
}
