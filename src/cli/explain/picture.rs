//! Where a picture goes, and as what: the name of the file says it.
//!
//! There is one drawing, the SVG. As PNG it is drawn here, in the two small fonts of `font/`, since containers have none.

use std::{
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
};

use anyhow::{Context, bail};
use resvg::{
    render,
    tiny_skia::{Color, Pixmap, Transform},
    usvg::{Options, Tree, fontdb::Database},
};

const FONTS: [&[u8]; 2] = [include_bytes!("font/DejaVuSans.ttf"), include_bytes!("font/DejaVuSans-Bold.ttf")];
const FAMILY: &str = "DejaVu Sans";

/// Pixels of a PNG for each of the SVG, so that text is sharp on dense screens.
const SCALE: f32 = 2.0;

/// A file that is to be drawn.
#[derive(Clone, Debug)]
pub(super) struct Picture {
    path: PathBuf,
    format: Format,
}

#[derive(Clone, Copy, Debug)]
enum Format {
    Svg,
    Png,
}

impl FromStr for Picture {
    type Err = anyhow::Error;

    fn from_str(path: &str) -> anyhow::Result<Self> {
        let path = PathBuf::from(path);
        let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
        let format = match extension.as_deref() {
            Some("svg") => Format::Svg,
            Some("png") => Format::Png,
            _ => bail!("SVG and PNG can be drawn: name the file {} or {}", with_extension(&path, "svg"), with_extension(&path, "png")),
        };
        Ok(Self { path, format })
    }
}

fn with_extension(path: &Path, extension: &str) -> String {
    path.with_extension(extension).display().to_string()
}

impl Picture {
    /// Writes the drawing.
    pub(super) fn write(&self, svg: String) -> anyhow::Result<()> {
        let bytes = match self.format {
            Format::Svg => svg.into_bytes(),
            Format::Png => png(&svg).context("cannot draw")?,
        };
        std::fs::write(&self.path, bytes).with_context(|| format!("cannot write {}", self.path.display()))
    }
}

/// The drawing in its light colours, on white.
fn png(svg: &str) -> anyhow::Result<Vec<u8>> {
    let tree = Tree::from_str(svg, &Options { fontdb: Arc::new(fonts()), font_family: FAMILY.to_owned(), ..Options::default() })?;
    let size = tree.size().to_int_size().scale_by(SCALE).context("a picture has a size")?;
    let mut pixels = Pixmap::new(size.width(), size.height()).context("a picture has a size")?;
    pixels.fill(Color::WHITE);
    render(&tree, Transform::from_scale(SCALE, SCALE), &mut pixels.as_mut());
    Ok(pixels.encode_png()?)
}

fn fonts() -> Database {
    let mut fonts = Database::new();
    FONTS.iter().for_each(|font| fonts.load_font_data(font.to_vec()));
    fonts.set_sans_serif_family(FAMILY);
    fonts
}
