//! What decides the requests of all services that a layer wraps.

use std::sync::Arc;

use http::{Request, Response};
use http_body_util::Full;

use super::{
    classify::{Classified, Classify},
    response::Respond,
};
use crate::{
    limiter::{Call, Decision, Limiter, Store},
    mcp::http::{Decided, Fields},
};

/// Decides requests.
pub(super) struct Gate<S, C, R> {
    pub(super) limiter: Arc<Limiter<S>>,
    pub(super) classifier: C,
    pub(super) responder: R,
    pub(super) rate_limit_fields: bool,
}

impl<S: Store, C, R> Gate<S, C, R> {
    /// The request to forward and the headers for its response, or the response to send instead.
    pub(super) async fn admit<B>(&self, request: Request<B>) -> Result<(Request<C::Body>, Fields), Response<Full<bytes::Bytes>>>
    where
        C: Classify<B>,
        R: Respond<C::Context>,
    {
        let (mut request, calls, context) = match self.classifier.classify(request).await {
            Classified::Pass(request) => return Ok((request, Fields::new())),
            Classified::Refused(response) => return Err(response),
            Classified::Counted { request, calls, context } => (request, calls, context),
        };
        let tools: Vec<_> = calls.tools.iter().map(String::as_str).collect();
        let call = Call::batch(&tools).by_known(calls.user.as_deref());
        let Decided { decision, fields } = Decided::about(&self.limiter, &call, self.rate_limit_fields).await;
        let mut instead = match decision {
            Ok(Decision::Denied(denial)) => {
                let mut response = self.responder.denied(&context, &denial);
                response.extensions_mut().insert(denial);
                response
            }
            Ok(allowed) => {
                request.extensions_mut().insert(allowed);
                return Ok((request, fields));
            }
            Err(error) => self.responder.undecided(&context, &error),
        };
        instead.headers_mut().extend(fields);
        Err(instead)
    }
}
