//! The store in Redis: the suite at every place, and what is particular to it.

mod faults;
mod places;
mod script;
mod together;
mod written;

pub use places::{Alone, At, Clustered, at};
