//! The Secret, as Kubernetes keeps it.

use k8s_openapi::{ByteString, api::core::v1::Secret};

use crate::{certs::authority::Kept, cluster::named::Sight};

/// What the Secret holds; nothing while it was not read, or is not there.
pub(super) fn kept(secret: &Sight<Secret>) -> Kept {
    let Sight::There(secret) = secret else { return Kept::default() };
    let data = secret.data.iter().flatten().map(|(key, value)| (key.clone(), value.0.clone())).collect();
    Kept::read(&data, secret.metadata.annotations.as_ref().unwrap_or(&Default::default()))
}

/// The Secret with this in it. Its `resourceVersion` makes a write fail when someone else has written since.
pub(super) fn with(secret: &Secret, kept: &Kept) -> Secret {
    let mut secret = secret.clone();
    let mut data = secret.data.take().unwrap_or_default().into_iter().map(|(key, value)| (key, value.0)).collect();
    let mut annotations = secret.metadata.annotations.take().unwrap_or_default();
    kept.write(&mut data, &mut annotations);
    secret.data = Some(data.into_iter().map(|(key, value)| (key, ByteString(value))).collect());
    secret.metadata.annotations = Some(annotations);
    // Written anew by the API server.
    secret.metadata.managed_fields = None;
    secret
}
