//! The steps of a rotation.

/// A change of the Secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Make the CA that signs.
    Create,
    /// Make the CA that will sign.
    Publish,
    /// Let the next CA sign.
    Promote,
    /// Write the bundle anew: a CA is gone from it, or what stands there is damaged.
    Tidy,
}

impl Step {
    /// For logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Publish => "publish",
            Self::Promote => "promote",
            Self::Tidy => "tidy",
        }
    }
}
