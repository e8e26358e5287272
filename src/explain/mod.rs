//! Rules in full, and what the limits of files mean in practice.
//!
//! | file | contents |
//! |---|---|
//! | `answer` | the explanation of one argument |
//! | `finding` | findings that are not rules; suggestions for mistyped ids |
//! | `rule` | a rule: why, an example that breaks it and one that passes, what CRD and webhook do |
//! | `limits` | the limits of an object in words, and the keys they need in Redis |
//! | `load` | loads of calls: `40,1/s` |
//! | `simulate` | the limiter's decisions on them |
//! | `plot` | the same as a drawing |
//! | `text` | paragraphs and large numbers |

mod answer;
mod finding;
mod limits;
mod load;
mod plot;
mod rule;
mod simulate;
mod text;

pub use self::{
    answer::{Answer, FileExplained},
    finding::{FindingExplained, meant},
    limits::Explained,
    load::{BadLoad, Load},
    plot::svg,
    rule::{RuleError, RuleExplained},
    simulate::{Calls, Simulated, SimulationError},
};
