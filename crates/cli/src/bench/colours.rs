//! The plots' colours, on light pages and on dark ones.

use plotters::style::{RGBColor, WHITE};

/// Of configurations.
const COLOURS: &[RGBColor] = &[
    RGBColor(110, 118, 129),
    RGBColor(9, 105, 218),
    RGBColor(207, 34, 46),
    RGBColor(154, 103, 0),
    RGBColor(26, 127, 55),
    RGBColor(130, 80, 223),
];
/// Text and axes.
pub const INK: RGBColor = RGBColor(87, 96, 106);
/// Grids.
pub const FAINT: RGBColor = RGBColor(216, 222, 228);

/// What each colour becomes on a dark page.
const DARK: [(RGBColor, &str); 9] = [
    (WHITE, "#0d1117"),
    (INK, "#9198a1"),
    (FAINT, "#30363d"),
    (COLOURS[0], "#8b949e"),
    (COLOURS[1], "#4493f8"),
    (COLOURS[2], "#f85149"),
    (COLOURS[3], "#d29922"),
    (COLOURS[4], "#3fb950"),
    (COLOURS[5], "#ab7df8"),
];

/// The drawing with its colours for dark pages, which whoever shows it chooses.
pub fn themed(svg: &str) -> String {
    let mut style = String::from("<style>@media(prefers-color-scheme:dark){");
    for (RGBColor(r, g, b), dark) in DARK {
        for what in ["fill", "stroke"] {
            let light = format!("#{r:02X}{g:02X}{b:02X}");
            style += &format!("svg [{what}=\"{light}\"]{{{what}:{dark}}}");
        }
    }
    style += "}</style>";
    // Behind the opening tag.
    let at = svg.find('>').map_or(0, |i| i + 1);
    format!("{}\n{style}{}", &svg[..at], &svg[at..])
}

/// The colour of the i-th configuration of a comparison.
pub fn colour(i: usize) -> RGBColor {
    COLOURS[i % COLOURS.len()]
}
