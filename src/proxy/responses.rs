//! The proxy's own responses to bodies that it has not read.

use axum::response::Response;

use super::bodies::Unread;
use crate::gate::answer::{no_room, plain, too_large};

pub(super) fn unread(why: Unread) -> Response {
    match why {
        Unread::TooLarge(largest, _) => too_large(largest),
        Unread::Broken => plain(400, "the body is incomplete"),
        Unread::Late(within) => plain(408, &format!("the body was not received within {within:?}")),
        Unread::NoRoom => no_room(),
    }
}
