//! The file that a drawing is written to: an SVG.

use std::{
    path::{Path, PathBuf},
    str::FromStr,
};

use anyhow::{Context, bail};

/// A file that is to be drawn.
#[derive(Clone, Debug)]
pub(super) struct Picture(PathBuf);

impl FromStr for Picture {
    type Err = anyhow::Error;

    fn from_str(path: &str) -> anyhow::Result<Self> {
        let path = Path::new(path);
        if !path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("svg")) {
            bail!("plots are SVG: name the file {}", path.with_extension("svg").display());
        }
        Ok(Self(path.to_owned()))
    }
}

impl Picture {
    /// Writes the drawing.
    pub(super) fn write(&self, svg: &str) -> anyhow::Result<()> {
        std::fs::write(&self.0, svg).with_context(|| format!("cannot write {}", self.0.display()))
    }
}
