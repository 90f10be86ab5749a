//! Total time by length, both logarithmic, as SVG.

use std::fmt::Write as _;

use super::{Options, Report, Row};

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 480.0;
/// Left, top, right, bottom of the frame.
const FRAME: [f64; 4] = [78.0, 48.0, 560.0, 420.0];
/// Colours that are told apart with any eyes (Okabe, Ito), and shapes for those who print in black.
const COLOURS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00"];

/// Powers of ten between which everything is.
struct Axis {
    low: i32,
    high: i32,
    from: f64,
    to: f64,
}

impl Axis {
    fn around(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Self {
        let logs: Vec<f64> = values.filter(|value| *value > 0.0).map(f64::log10).collect();
        let (low, high) =
            (logs.iter().copied().fold(f64::MAX, f64::min), logs.iter().copied().fold(f64::MIN, f64::max));
        let (low, high) = if logs.is_empty() { (0, 1) } else { (whole(low.floor()), whole(high.ceil())) };
        Self { low, high: high.max(low.saturating_add(1)), from, to }
    }

    fn at(&self, value: f64) -> f64 {
        let share = (value.log10() - f64::from(self.low)) / f64::from(self.high.saturating_sub(self.low));
        (self.to - self.from).mul_add(share, self.from)
    }

    fn ticks(&self) -> impl Iterator<Item = (i32, f64)> {
        (self.low..=self.high).map(|power| (power, self.at(10_f64.powi(power))))
    }
}

/// Of a number that was rounded and is a logarithm.
#[expect(clippy::cast_possible_truncation, reason = "logarithms of what was measured are below a hundred")]
const fn whole(log: f64) -> i32 {
    log as i32
}

/// A line of a drawing.
#[derive(Clone, PartialEq, Debug)]
pub struct Line {
    /// What the legend calls it.
    pub name: String,
    /// Messages, and seconds.
    pub points: Vec<(f64, f64)>,
}

/// Draws lines of total time by length.
pub fn draw(title: &str, under: &str, lines: &[Line]) -> String {
    let [left, top, right, bottom] = FRAME;
    let all = || lines.iter().flat_map(|line| &line.points);
    let x = Axis::around(all().map(|(length, _)| *length), left, right);
    let y = Axis::around(all().map(|(_, seconds)| *seconds), bottom, top);
    let mut svg = begin(title, under);
    axes(&mut svg, &x, &y);
    for (number, (line, colour)) in lines.iter().zip(COLOURS.iter().cycle()).enumerate() {
        let points: Vec<(f64, f64)> = line.points.iter().map(|(length, took)| (x.at(*length), y.at(*took))).collect();
        path(&mut svg, &points, colour);
        points.iter().for_each(|point| mark(&mut svg, *point, number, colour));
        legend(&mut svg, number, colour, &line.name);
    }
    svg.push_str("</svg>\n");
    svg
}

/// Draws the medians, with lines from the lowest to the highest round.
pub fn plot(report: &Report) -> String {
    let [left, top, right, bottom] = FRAME;
    let x = Axis::around(report.rows.iter().map(Row::length), left, right);
    let range = report.rows.iter().flat_map(|row| <[f64; 2]>::from(row.seconds.range()));
    let y = Axis::around(range, bottom, top);
    let mut svg = head(&report.options);
    axes(&mut svg, &x, &y);
    text(
        &mut svg,
        (right + 16.0, top + 6.0),
        "start",
        "font-size=\"12\" fill=\"#555555\"",
        "messages/s of the longest",
    );
    let mut ks: Vec<u32> = report.rows.iter().map(|row| row.k).collect();
    ks.dedup();
    for (number, (k, colour)) in ks.iter().zip(COLOURS.iter().cycle()).enumerate() {
        let rows: Vec<&Row> = report.rows.iter().filter(|row| row.k == *k).collect();
        series(&mut svg, (&x, &y), &rows, (number, colour));
    }
    svg.push_str("</svg>\n");
    svg
}

fn head(options: &Options) -> String {
    let Options { windows, size, journal, rounds, .. } = options;
    let told = format!(
        "{size}-byte messages, {windows} windows, journals of class {}, medians of {rounds} rounds",
        journal.name()
    );
    begin("Total time of a sale by its length", &told)
}

fn begin(title: &str, under: &str) -> String {
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"13\" fill=\"#222222\">\n\
         <title>{title}</title>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
    );
    text(&mut svg, (FRAME[0], 20.0), "start", "font-size=\"15\" font-weight=\"bold\"", title);
    text(&mut svg, (FRAME[0], 38.0), "start", "font-size=\"12\" fill=\"#555555\"", under);
    svg
}

fn axes(svg: &mut String, x: &Axis, y: &Axis) {
    let [left, top, right, bottom] = FRAME;
    for (power, at) in x.ticks() {
        line(svg, [at, top, at, bottom], "stroke=\"#dddddd\"");
        ten(svg, (at, bottom + 20.0), "middle", power);
    }
    for (power, at) in y.ticks() {
        line(svg, [left, at, right, at], "stroke=\"#dddddd\"");
        ten(svg, (left - 8.0, at + 4.0), "end", power);
    }
    line(svg, [left, bottom, right, bottom], "stroke=\"#222222\"");
    line(svg, [left, top, left, bottom], "stroke=\"#222222\"");
    text(svg, (f64::midpoint(left, right), bottom + 44.0), "middle", "", "messages of the order");
    let middle = f64::midpoint(top, bottom);
    let turned = format!("transform=\"rotate(-90 22 {middle:.1})\"");
    text(svg, (22.0, middle), "middle", &turned, "total time, seconds");
}

/// A power of ten, its exponent raised by characters that are: not all readers of SVG place raised spans.
fn ten(svg: &mut String, at: (f64, f64), anchor: &str, power: i32) {
    let raised = |digit: char| match digit {
        '-' => '\u{207b}',
        '1' => '\u{b9}',
        '2' => '\u{b2}',
        '3' => '\u{b3}',
        digit => digit.to_digit(10).and_then(|digit| char::from_u32(digit.saturating_add(0x2070))).unwrap_or(digit),
    };
    let exponent: String = power.to_string().chars().map(raised).collect();
    text(svg, at, anchor, "", &format!("10{exponent}"));
}

fn series(svg: &mut String, (x, y): (&Axis, &Axis), rows: &[&Row], (number, colour): (usize, &str)) {
    let points: Vec<(f64, f64)> =
        rows.iter().map(|row| (x.at(row.length()), y.at(row.seconds.median().max(1e-9)))).collect();
    path(svg, &points, colour);
    for (row, (x, middle)) in rows.iter().zip(&points) {
        let (low, high) = row.seconds.range();
        line(svg, [*x, y.at(low.max(1e-9)), *x, y.at(high.max(1e-9))], &format!("stroke=\"{colour}\""));
        mark(svg, (*x, *middle), number, colour);
    }
    let Some(last) = rows.last() else { return };
    legend(svg, number, colour, &format!("K = {}: {}", last.k, short(last.rate())));
}

fn path(svg: &mut String, points: &[(f64, f64)], colour: &str) {
    let path: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    let _ =
        writeln!(svg, "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>", path.join(" "));
}

fn legend(svg: &mut String, number: usize, colour: &str, said: &str) {
    let row = f64::from(u32::try_from(number).unwrap_or_default());
    let at = (FRAME[2] + 24.0, 22.0f64.mul_add(row, FRAME[1] + 28.0));
    mark(svg, at, number, colour);
    text(svg, (at.0 + 12.0, at.1 + 4.0), "start", "", said);
}

fn mark(svg: &mut String, (x, y): (f64, f64), number: usize, colour: &str) {
    let _ = match number % 3 {
        0 => writeln!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\" fill=\"{colour}\"/>"),
        1 => writeln!(
            svg,
            "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"8\" height=\"8\" fill=\"{colour}\"/>",
            x - 4.0,
            y - 4.0
        ),
        _ => writeln!(svg, "<path d=\"M{x:.1} {:.1} l5 9 h-10 z\" fill=\"{colour}\"/>", y - 5.0),
    };
}

/// A rate for a legend.
fn short(rate: f64) -> String {
    match rate {
        rate if rate >= 1e6 => format!("{:.1} M", rate / 1e6),
        rate if rate >= 1e3 => format!("{:.0} k", rate / 1e3),
        rate => format!("{rate:.0}"),
    }
}

fn line(svg: &mut String, [x1, y1, x2, y2]: [f64; 4], style: &str) {
    let _ = writeln!(svg, "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" {style}/>");
}

fn text(svg: &mut String, (x, y): (f64, f64), anchor: &str, style: &str, text: &str) {
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" {style}>{text}</text>");
}
