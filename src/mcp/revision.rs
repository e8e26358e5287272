//! Revisions of MCP, which are dates, and the differences that matter here.
//!
//! | from | to | |
//! |---|---|---|
//! | 2025-03-26 | 2025-03-26 | batches |
//! | 2025-06-18 | | `MCP-Protocol-Version` contains the revision; without it, the revision is 2025-03-26 |
//! | 2026-07-28 | | `Mcp-Method` and `Mcp-Name` repeat parts of the body; error codes -32020 to -32099 belong to MCP |

use std::fmt;

/// A revision of MCP by its date.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision {
    year: u16,
    month: u8,
    day: u8,
}

impl Revision {
    /// The one with batches, and the default if none is named.
    pub const V2025_03_26: Self = Self { year: 2025, month: 3, day: 26 };
    /// Without batches.
    pub const V2025_06_18: Self = Self { year: 2025, month: 6, day: 18 };
    /// The last with sessions.
    pub const V2025_11_25: Self = Self { year: 2025, month: 11, day: 25 };
    /// The first with `Mcp-Method` and `Mcp-Name`.
    pub const V2026_07_28: Self = Self { year: 2026, month: 7, day: 28 };

    /// Parses `YYYY-MM-DD`; `None` for anything else. Future revisions are accepted too.
    pub fn parse(text: &str) -> Option<Self> {
        let number = |from: usize, to: usize| {
            let digits = text.get(from..to)?;
            digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse::<u16>().ok())?
        };
        let dashes = text.get(4..5)? == "-" && text.get(7..8)? == "-" && text.len() == 10;
        let (month, day) = (u8::try_from(number(5, 7)?).ok()?, u8::try_from(number(8, 10)?).ok()?);
        let real = dashes && (1..=12).contains(&month) && (1..=31).contains(&day);
        real.then_some(Self { year: number(0, 4)?, month, day })
    }

    /// Whether a body may be an array of messages.
    pub fn has_batches(self) -> bool {
        self == Self::V2025_03_26
    }

    /// Whether headers repeat the method and the name, and must match the body.
    pub fn has_routing_headers(self) -> bool {
        self >= Self::V2026_07_28
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_and_ordered() {
        assert_eq!(Revision::parse("2025-11-25"), Some(Revision::V2025_11_25));
        assert!(Revision::parse("2027-01-01").is_some_and(Revision::has_routing_headers));
        assert!(!Revision::V2025_11_25.has_routing_headers() && Revision::V2026_07_28.has_routing_headers());
        assert_eq!(Revision::V2025_03_26.to_string(), "2025-03-26");
    }

    #[test]
    fn anything_else_is_no_revision() {
        for text in ["", "2025-3-26", "2025-03-26 ", "2025-13-26", "2025-03-00", "+025-03-26", "DRAFT-2026-v1", "２025-03-2", "2025/03/26"]
        {
            assert_eq!(Revision::parse(text), None, "{text}");
        }
    }
}
