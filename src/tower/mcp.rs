//! MCP over HTTP: the body of a POST is read whole, classified, and forwarded byte for byte.

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header::ALLOW, request::Parts};
use http_body::Body as HttpBody;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};

use super::{
    Body,
    classify::{Calls, Classified, Classify},
};
use crate::mcp::{
    DenialForm, Envelope, Fault, Reader, Refusal, Reply,
    http::{ALLOWED, Role, declared, headers},
};

/// The default limit for a body: 4 MiB.
pub const MOST_BYTES: usize = 4 << 20;

/// Classifies the requests of MCP clients.
#[derive(Clone, Copy, Debug)]
pub struct Mcp<U = fn(&Parts) -> Option<String>> {
    reader: Reader,
    denial_form: DenialForm,
    most_bytes: usize,
    user: U,
}

impl Default for Mcp {
    /// For any server, with anonymous callers.
    fn default() -> Self {
        Self { reader: Reader::default(), denial_form: DenialForm::default(), most_bytes: MOST_BYTES, user: |_| None }
    }
}

impl<U> Mcp<U> {
    /// Sets how to identify the caller: a verified user, as an outer layer left it in the request's extensions. `None` is an anonymous
    /// caller: per-user limits are skipped.
    #[must_use]
    pub fn by<V: Fn(&Parts) -> Option<String>>(self, user: V) -> Mcp<V> {
        Mcp { reader: self.reader, denial_form: self.denial_form, most_bytes: self.most_bytes, user }
    }

    /// Sets how bodies are read.
    #[must_use]
    pub fn reader(self, reader: Reader) -> Self {
        Self { reader, ..self }
    }

    /// Sets how invalid requests are answered: over HTTP 200 if a session would not survive an error and the request's id is known.
    #[must_use]
    pub fn denial_form(self, denial_form: DenialForm) -> Self {
        Self { denial_form, ..self }
    }

    /// Sets the maximum size of a body; a larger one is answered with HTTP 413.
    #[must_use]
    pub fn most_bytes(self, most_bytes: usize) -> Self {
        Self { most_bytes, ..self }
    }

    async fn read<B>(&self, parts: &Parts, body: B) -> Result<(Envelope, Bytes), Refusal>
    where
        B: HttpBody,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let headers = headers(&parts.headers)?;
        let body = whole(body, self.most_bytes).await?;
        let envelope = self.reader.read(&headers, &body)?;
        Ok((envelope, body))
    }
}

impl<B, U> Classify<B> for Mcp<U>
where
    B: HttpBody + Send,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    U: Fn(&Parts) -> Option<String> + Sync,
{
    type Body = Body<B>;
    type Context = Envelope;

    async fn classify(&self, request: Request<B>) -> Classified<Body<B>, Envelope> {
        match Role::of(request.method()) {
            Role::Message => {}
            Role::Passing => return Classified::Pass(request.map(Body::Right)),
            Role::NotAllowed => return Classified::Refused(not_allowed()),
        }
        let (parts, body) = request.into_parts();
        let (envelope, body) = match self.read(&parts, body).await {
            Ok(read) => read,
            Err(refusal) => return Classified::Refused(self.denial_form.refused(declared(&parts.headers), &refusal).into()),
        };
        let calls = Calls::batch(envelope.tools()).by((self.user)(&parts));
        let request = Request::from_parts(parts, Body::Left(Full::new(body)));
        if calls.tools.is_empty() { Classified::Pass(request) } else { Classified::Counted { request, calls, context: envelope } }
    }
}

fn not_allowed() -> Response<Full<Bytes>> {
    let mut response = Response::from(Reply::refused(405, "send POST, GET or DELETE"));
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(ALLOWED));
    response
}

async fn whole<B>(body: B, most_bytes: usize) -> Result<Bytes, Fault>
where
    B: HttpBody,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    // A body that announces too large a size is rejected without being read.
    if body.size_hint().lower() > most_bytes as u64 {
        return Err(Fault::TooLarge { limit: most_bytes });
    }
    let collected = Limited::new(body, most_bytes).collect().await.map_err(|error| match error.downcast_ref::<LengthLimitError>() {
        Some(_) => Fault::TooLarge { limit: most_bytes },
        None => Fault::BrokenOff,
    })?;

    Ok(collected.to_bytes())
}
