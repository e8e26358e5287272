//! The store in Redis and in Valkey: the suite at every place, and what is particular to it. The name of a test includes the server:
//! `on_redis`, `on_valkey`.

mod faults;
mod places;
mod script;
mod together;
mod written;

pub use places::{Alone, At, Clustered, OfRedis, OfValkey, at};
