//! Texts that hold objects, and the place of every field in them: YAML and JSON, read as `kubectl` reads them.
//!
//! Pure: text in, objects with byte spans out. A text comes in pieces between `---` lines ([`Splitter`]), so that a stream of any length
//! needs the memory of its longest document, and a broken document does not hide the next one. [`read()`] turns a piece into [`Node`]s,
//! which give a `serde_json` value to the rules and, for the [`FieldPath`](crate::model::path::FieldPath) of a finding, the place in the
//! text to point at.
//!
//! What `kubectl` makes of a text is what the API server gets, so it is followed where it differs from YAML 1.2: `yes` is a boolean, `010`
//! is eight, `1e3` is the integer 1000, a merge key (`<<`) takes effect where it stands, U+0085, U+2028 and U+2029 end a line, JSON objects
//! may follow each other, and the items of an `MCPServerList` need no kind. Only a key that stands twice is refused here;
//! `kubectl` would silently take the last. Every command reads by this module: [`objects()`] is for those that need no places,
//! [`server`] for those that need the limits of one server.
//!
//! ```
//! use tollgate::{model::path::FieldPath, manifest::{Piece, Text, read}};
//!
//! let text = Text::new("kind: MCPServer\nspec:\n  rateLimiting:\n    global: {maxTokens: 0}\n".to_owned(), 1, 0);
//! read(text.as_str(), &mut |piece| {
//!     let Piece::Object(node) = piece else { return };
//!     let place = node.locate(&FieldPath::new(["spec", "rateLimiting", "global", "maxTokens"]));
//!     let at = text.position(place.value.start);
//!     assert_eq!((at.line, at.column), (4, 25));
//! })?;
//! # Ok::<(), tollgate::manifest::Broken>(())
//! ```

mod broken;
mod clean;
mod decode;
mod fields;
mod items;
mod json;
pub mod migrate;
mod node;
mod object;
mod objects;
mod partial;
mod read;
mod scalar;
#[cfg(feature = "limiter")]
pub mod server;
pub mod sign_in;
mod split;
mod template;
mod text;

use std::ops::Range;

pub use self::{
    broken::Broken,
    node::{Content, Entry, Located, Node, Piece},
    object::{kind_and_version, misnamed, unversioned},
    objects::{Unreadable, objects},
    partial::{holds_placeholders, is_filled_in_later, is_patch},
    read::read,
    split::{Raw, Splitter},
    template::{gives_ours, template},
    text::{Position, Text},
};

/// A range of bytes, from the start of the piece of text that was read.
pub type Span = Range<usize>;

/// A word that every object of our kinds has in its `kind`: a document without it holds none of them, readable or not.
pub const MARK: &str = "MCPServer";
