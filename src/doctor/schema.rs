//! The installed CRDs: are the kinds served, and do they keep every field of the limits that tollgate knows?

use std::collections::BTreeSet;

use super::report::Notes;
use crate::{
    cluster::{Cluster, ClusterError, openapi::documents},
    model::{
        GROUP, VERSIONS,
        schema::dropped,
        subject::{Kind, ScopeKey},
    },
};

const UPGRADE: &str = "upgrade ToolHive's CRDs (Helm does not do it), or without ToolHive `tollgate crds | kubectl apply -f -`";

/// Looks at the CRDs; the newest version that is served. Where ToolHive's operator is at work, `global` is not missed: it would not read it.
pub(super) async fn look(cluster: &Cluster, has_operator: bool, notes: &mut Notes) -> Option<&'static str> {
    let documents = match documents(&cluster.client).await {
        Ok(documents) => documents,
        Err(trouble) => {
            let todo = trouble.advice("grant get on the nonResourceURLs /openapi/v3 and /openapi/v3/*".to_owned());
            notes.unknown("crds", format!("what the installed CRDs know: {trouble}"), todo);
            return None;
        }
    };
    let served: Vec<_> = VERSIONS.into_iter().filter(|version| documents.iter().any(|(served, _)| served == version)).collect();
    if served.is_empty() {
        notes.problem("crds", format!("no version of {GROUP} is served"), UPGRADE);
        return None;
    }
    let dropped = dropped(documents.iter().map(|(version, document)| (*version, document)));
    if dropped.is_empty() {
        notes.ok("crds", format!("{GROUP} {} keep every field of the limits", served.join(" and ")));
    }
    for kind in Kind::ALL {
        let of_kind = || dropped.iter().filter(|field| field.kind == kind);
        let paths: BTreeSet<_> = of_kind().map(|field| field.path.to_string()).collect();
        let versions: Vec<_> = served.iter().filter(|version| of_kind().any(|field| field.version == **version)).copied().collect();
        if paths.is_empty() {
            continue;
        }
        if has_operator && paths.iter().all(|path| path.ends_with(ScopeKey::Global.key())) {
            let (kind, versions) = (kind.name(), versions.join(", "));
            notes.ok("crds", format!("the CRD of {kind} ({versions}) has shared and not global, as ToolHive publishes it: write shared"));
            continue;
        }
        let loses_global = paths.iter().any(|path| path.ends_with(ScopeKey::Global.key()));
        let meaning =
            if loses_global { "there shared is not renamed, and who writes global loses the limit" } else { "such limits are lost" };
        let paths = paths.into_iter().collect::<Vec<_>>().join(", ");
        notes.problem("crds", format!("the CRD of {} ({}) lacks {paths}: {meaning}", kind.name(), versions.join(", ")), UPGRADE);
    }
    for kind in Kind::ALL {
        let path = format!("/apis/{GROUP}/{}/{}?limit=1", served.first().unwrap_or(&VERSIONS[0]), kind.plural());
        if let Err(ClusterError::Absent(_)) = cluster.get(&path).await {
            notes.problem("crds", format!("{} is not served", kind.name()), UPGRADE);
        }
    }
    served.first().copied()
}
