//! `tollgate serve` before a real API server, with kubectl as the client.

mod alias;
mod audit;
mod authority;
pub mod doctor;
pub mod installed;
mod operator;
mod places;
mod restarted;
mod rules;
mod watched;
mod ways;
