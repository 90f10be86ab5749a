//! A QR code in a terminal, two modules in a character.

use qrcode::{Color, EcLevel, QrCode};

use crate::home::Failure;

/// White around the code, in modules, as ISO/IEC 18004 wants it.
const QUIET: usize = 4;
/// Black on bright white, whatever the colours of the terminal are: readers want dark on light.
const PAPER: &str = "\x1b[30;107m";
const PLAIN: &str = "\x1b[0m";

/// The lines of the code of a text; what is drawn is dark.
pub(crate) fn lines(text: &str) -> Result<Vec<String>, Failure> {
    let code = QrCode::with_error_correction_level(text, EcLevel::M)
        .map_err(|_| "this is too long for a QR code that a terminal can show")?;
    let width = code.width();
    let colors = code.to_colors();
    let is_dark = |x: usize, y: usize| {
        let inside = |at: usize| at.checked_sub(QUIET).filter(|at| *at < width);
        let at = inside(y).zip(inside(x)).and_then(|(y, x)| y.checked_mul(width)?.checked_add(x));
        at.and_then(|at| colors.get(at)) == Some(&Color::Dark)
    };
    let side = width.saturating_add(QUIET.saturating_mul(2));
    let row = |y: usize| {
        let both = |x| match (is_dark(x, y), is_dark(x, y.saturating_add(1))) {
            (true, true) => '█',
            (true, false) => '▀',
            (false, true) => '▄',
            (false, false) => ' ',
        };
        (0..side).map(both).collect()
    };
    Ok((0..side).step_by(2).map(row).collect())
}

/// The lines with colours, for a terminal.
pub(crate) fn picture(lines: &[String]) -> String {
    let coloured: Vec<String> = lines.iter().map(|line| format!("{PAPER}{line}{PLAIN}")).collect();
    coloured.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_module_is_drawn_in_its_place() {
        let text = "sdpp://z6MkExample@example.org:7000/weather";
        let lines = lines(text).unwrap();
        let code = QrCode::with_error_correction_level(text, EcLevel::M).unwrap();
        let side = code.width() + 2 * QUIET;
        assert_eq!(lines.len(), side.div_ceil(2));
        let mut dark = Vec::new();
        for (row, line) in lines.iter().enumerate() {
            assert_eq!(line.chars().count(), side);
            for (x, c) in line.chars().enumerate() {
                dark.extend("█▀".contains(c).then_some((x, 2 * row)));
                dark.extend("█▄".contains(c).then_some((x, 2 * row + 1)));
            }
        }
        dark.sort_by_key(|(x, y)| (*y, *x));
        let wanted: Vec<_> = (0..code.width())
            .flat_map(|y| (0..code.width()).map(move |x| (x, y)))
            .filter(|at| code[*at] == Color::Dark)
            .map(|(x, y)| (x + QUIET, y + QUIET))
            .collect();
        assert_eq!(dark, wanted);
        let picture = picture(&lines);
        assert!(picture.lines().all(|line| line.starts_with(PAPER) && line.ends_with(PLAIN)));
    }
}
