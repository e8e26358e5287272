//! Why a request does not get as far as a review, and what is answered then.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

/// Why a request does not get as far as a review.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Overloaded,
    NotJson,
    BadTimeout,
    TooLarge,
    Cut,
    Late,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, text) = match self {
            Self::Overloaded => (StatusCode::SERVICE_UNAVAILABLE, "too many reviews at once; try again\n"),
            Self::NotJson => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "reviews are sent as Content-Type: application/json\n"),
            Self::BadTimeout => (StatusCode::BAD_REQUEST, "timeout is a Go duration above zero, such as 10s\n"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "reviews have at most 7 MiB\n"),
            Self::Cut => (StatusCode::BAD_REQUEST, "the body is incomplete\n"),
            Self::Late => (StatusCode::GATEWAY_TIMEOUT, "the review was not finished in time\n"),
        };
        let mut response = (status, text).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
