//! The messages of `envoy.service.auth.v3` and `grpc.health.v1`, as far as they are read or written here.
//!
//! Numbers and types are those of Envoy's `external_auth.proto`, `attribute_context.proto` and `base.proto`. Strings of requests are bytes, which
//! is the same on the wire: a header whose value is not UTF-8 is then one bad header, and not a message that cannot be decoded. Bytes are parts
//! of the buffer that was received, not copies. Maps are lists of their entries, so that a key that comes twice is seen twice.

use bytes::Bytes;
use prost::Message;

/// `envoy.service.auth.v3.CheckRequest`
#[derive(Clone, PartialEq, Message)]
pub struct CheckRequest {
    /// The request that a client sent to Envoy, and where.
    #[prost(message, optional, tag = "1")]
    pub attributes: Option<AttributeContext>,
}

/// `envoy.service.auth.v3.AttributeContext`
#[derive(Clone, PartialEq, Message)]
pub struct AttributeContext {
    /// The request.
    #[prost(message, optional, tag = "4")]
    pub request: Option<Request>,
    /// What the configuration of Envoy's route says.
    #[prost(message, repeated, tag = "10")]
    pub context_extensions: Vec<Entry>,
}

/// `envoy.service.auth.v3.AttributeContext.Request`
#[derive(Clone, PartialEq, Message)]
pub struct Request {
    /// HTTP's part of it; absent at a filter that only knows of connections.
    #[prost(message, optional, tag = "2")]
    pub http: Option<HttpRequest>,
}

/// `envoy.service.auth.v3.AttributeContext.HttpRequest`
#[derive(Clone, PartialEq, Message)]
pub struct HttpRequest {
    /// `POST`
    #[prost(bytes = "bytes", tag = "2")]
    pub method: Bytes,
    /// Header fields, with those of one name joined by commas.
    #[prost(message, repeated, tag = "3")]
    pub headers: Vec<Entry>,
    /// Path and query.
    #[prost(bytes = "bytes", tag = "4")]
    pub path: Bytes,
    /// `Host`, or `:authority`.
    #[prost(bytes = "bytes", tag = "5")]
    pub host: Bytes,
    /// The body as text.
    #[prost(bytes = "bytes", tag = "11")]
    pub body: Bytes,
    /// The body, with `pack_as_bytes`.
    #[prost(bytes = "bytes", tag = "12")]
    pub raw_body: Bytes,
    /// Header fields one by one, with `encode_raw_headers`.
    #[prost(message, optional, tag = "13")]
    pub header_map: Option<HeaderMap>,
}

/// An entry of a map of texts.
#[derive(Clone, PartialEq, Message)]
pub struct Entry {
    /// The key.
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    /// The value.
    #[prost(bytes = "bytes", tag = "2")]
    pub value: Bytes,
}

/// `envoy.config.core.v3.HeaderMap`
#[derive(Clone, PartialEq, Message)]
pub struct HeaderMap {
    /// In order.
    #[prost(message, repeated, tag = "1")]
    pub headers: Vec<HeaderValue>,
}

/// `envoy.config.core.v3.HeaderValue`
#[derive(Clone, PartialEq, Message)]
pub struct HeaderValue {
    /// The name.
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    /// The value, if it is text.
    #[prost(bytes = "bytes", tag = "2")]
    pub value: Bytes,
    /// The value, of whatever bytes.
    #[prost(bytes = "bytes", tag = "3")]
    pub raw_value: Bytes,
}

/// `envoy.service.auth.v3.CheckResponse`
#[derive(Clone, PartialEq, Message)]
pub struct CheckResponse {
    /// 0 allows the request; anything else denies it.
    #[prost(message, optional, tag = "1")]
    pub status: Option<Status>,
    /// What Envoy does.
    #[prost(oneof = "HttpResponse", tags = "2, 3")]
    pub http_response: Option<HttpResponse>,
}

/// `google.rpc.Status`, as far as Envoy reads it.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Status {
    /// A code of gRPC.
    #[prost(int32, tag = "1")]
    pub code: i32,
}

/// What Envoy does.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum HttpResponse {
    /// It sends this to the client.
    #[prost(message, tag = "2")]
    Denied(DeniedHttpResponse),
    /// It forwards the request.
    #[prost(message, tag = "3")]
    Ok(OkHttpResponse),
}

/// `envoy.service.auth.v3.DeniedHttpResponse`
#[derive(Clone, PartialEq, Message)]
pub struct DeniedHttpResponse {
    /// The HTTP status.
    #[prost(message, optional, tag = "1")]
    pub status: Option<HttpStatus>,
    /// Header fields.
    #[prost(message, repeated, tag = "2")]
    pub headers: Vec<HeaderValueOption>,
    /// The body.
    #[prost(string, tag = "3")]
    pub body: String,
}

/// `envoy.type.v3.HttpStatus`
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct HttpStatus {
    /// The number itself.
    #[prost(int32, tag = "1")]
    pub code: i32,
}

/// `envoy.service.auth.v3.OkHttpResponse`
#[derive(Clone, PartialEq, Message)]
pub struct OkHttpResponse {
    /// Header fields that the server does not get.
    #[prost(string, repeated, tag = "5")]
    pub headers_to_remove: Vec<String>,
    /// Header fields that the client gets.
    #[prost(message, repeated, tag = "6")]
    pub response_headers_to_add: Vec<HeaderValueOption>,
}

/// `envoy.config.core.v3.HeaderValueOption`
#[derive(Clone, PartialEq, Message)]
pub struct HeaderValueOption {
    /// The field.
    #[prost(message, optional, tag = "1")]
    pub header: Option<HeaderValue>,
    /// Whether fields of this name stay; without it, they are replaced.
    #[prost(message, optional, tag = "2")]
    pub append: Option<BoolValue>,
}

/// `google.protobuf.BoolValue`
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct BoolValue {
    /// The value.
    #[prost(bool, tag = "1")]
    pub value: bool,
}

/// `grpc.health.v1.HealthCheckRequest`
#[derive(Clone, PartialEq, Eq, Message)]
pub struct HealthCheckRequest {
    /// The full name of a service; empty for the whole server.
    #[prost(string, tag = "1")]
    pub service: String,
}

/// `grpc.health.v1.HealthCheckResponse`
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct HealthCheckResponse {
    /// 1 is serving, 2 is not.
    #[prost(int32, tag = "1")]
    pub status: i32,
}
