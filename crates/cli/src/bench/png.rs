//! A plot as PNG: the SVG, drawn with a font of the system.

use anyhow::{Context, Result, ensure};
use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::{Options, Tree};

/// Pixels for each unit of the SVG: sharp on dense screens.
const SCALE: f32 = 2.0;

/// The bytes of the PNG file.
pub fn draw(svg: &str) -> Result<Vec<u8>> {
    let mut options = Options::default();
    let fonts = options.fontdb_mut();
    fonts.load_system_fonts();
    let first = fonts.faces().next().and_then(|f| f.families.first());
    let first = first.map(|(name, _)| name.clone());
    ensure!(
        first.is_some(),
        "a PNG's text needs a font and this system has none; install fonts-dejavu-core, or use \
         the SVG"
    );
    // What "sans-serif" means without a fontconfig.
    let sans = ["DejaVu Sans", "Liberation Sans", "Noto Sans"];
    let has = |name: &&&str| {
        let mut faces = fonts.faces();
        faces.any(|f| f.families.iter().any(|(n, _)| n == **name))
    };
    let sans = sans.iter().find(has).map(ToString::to_string).or(first);
    fonts.set_sans_serif_family(sans.unwrap_or_default());
    let tree = Tree::from_str(svg, &options).context("the plot is no SVG")?;
    let size = tree
        .size()
        .to_int_size()
        .scale_by(SCALE)
        .context("an empty plot")?;
    let mut pixels = Pixmap::new(size.width(), size.height()).context("an empty plot")?;
    resvg::render(
        &tree,
        Transform::from_scale(SCALE, SCALE),
        &mut pixels.as_mut(),
    );
    pixels.encode_png().context("cannot encode the PNG")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SVG: &str = "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"30\" height=\"20\">\
        <rect width=\"30\" height=\"20\" fill=\"white\"/>\
        <text x=\"2\" y=\"15\" font-family=\"sans-serif\" font-size=\"14\">H</text></svg>";

    /// The text is really there, or one line says what it needs.
    #[test]
    fn text_is_drawn() {
        match draw(SVG) {
            Ok(png) => {
                let image = Pixmap::decode_png(&png).unwrap();
                assert_eq!((image.width(), image.height()), (60, 40));
                let ink = image.pixels().iter().filter(|p| p.red() < 100).count();
                assert!(ink > 20, "{ink} dark pixels");
            }
            Err(e) => assert!(e.to_string().contains("fonts-dejavu-core"), "{e:#}"),
        }
        assert!(draw("no picture").is_err());
    }
}
