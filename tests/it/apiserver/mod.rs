//! `tollgate serve` before a real API server, with kubectl as the client.

mod alias;
mod doctor;
mod installed;
mod places;
mod rules;
