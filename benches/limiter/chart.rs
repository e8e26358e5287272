//! The report as a chart: calls a second on a logarithmic scale, a dot for each party and the ratio between them.

use std::fmt::Write as _;

use super::report::Report;

const LEFT: f64 = 210.0;
const WIDTH: f64 = 640.0;
const RIGHT: f64 = 90.0;
const TOP: f64 = 70.0;
const ROW: f64 = 22.0;
const COLORS: [&str; 2] = ["#0b6e99", "#c0651b"];

/// A whole SVG document.
pub(super) fn svg(report: &Report) -> String {
    let rates = report.rows.iter().flat_map(|row| [0, 1].map(|party| row.median(party, |round| round.rate)));
    let (low, high) = rates.fold((f64::MAX, f64::MIN_POSITIVE), |(low, high), rate| (low.min(rate), high.max(rate)));
    let scale = Scale { low: low.log10().floor(), high: high.log10().ceil() };
    let (width, bottom) = (LEFT + WIDTH + RIGHT, TOP + ROW * report.rows.len() as f64);
    let height = bottom + 30.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>\n\
         <text x=\"10\" y=\"22\" font-size=\"16\">Calls decided a second</text>\n"
    );
    legend(&mut svg);
    axis(&mut svg, &scale, bottom);
    for (index, row) in report.rows.iter().enumerate() {
        let y = TOP + ROW * (index as f64 + 0.5);
        let [ours, rival] = [0, 1].map(|party| scale.x(row.median(party, |round| round.rate)));
        add(&mut svg, format_args!("<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>", LEFT - 12.0, y + 4.0, row.scenario));
        add(&mut svg, format_args!("<path d=\"M{rival:.1} {y}H{ours:.1}\" stroke=\"#9a9a9a\" stroke-width=\"2\"/>"));
        for (x, color) in [(rival, COLORS[1]), (ours, COLORS[0])] {
            add(&mut svg, format_args!("<circle cx=\"{x:.1}\" cy=\"{y}\" r=\"5\" fill=\"{color}\"/>"));
        }
        let ratio = row.ratio(|round| round.rate);
        add(&mut svg, format_args!("<text x=\"{}\" y=\"{}\">{ratio:.1}x</text>", LEFT + WIDTH + 14.0, y + 4.0));
    }
    svg.push_str("</svg>\n");
    svg
}

/// From a power of ten to another.
struct Scale {
    low: f64,
    high: f64,
}

impl Scale {
    fn x(&self, rate: f64) -> f64 {
        LEFT + WIDTH * (rate.log10() - self.low) / (self.high - self.low).max(1.0)
    }
}

fn legend(svg: &mut String) {
    let entries = [(LEFT, COLORS[0], "tollgate"), (LEFT + 100.0, COLORS[1], "one EVALSHA a call; governor for memory")];
    for (x, color, name) in entries {
        add(svg, format_args!("<circle cx=\"{x}\" cy=\"40\" r=\"5\" fill=\"{color}\"/><text x=\"{}\" y=\"44\">{name}</text>", x + 10.0));
    }
}

/// A line for each power of ten.
fn axis(svg: &mut String, scale: &Scale, bottom: f64) {
    let mut power = scale.low;
    while power <= scale.high {
        let x = scale.x(10_f64.powf(power));
        add(svg, format_args!("<path d=\"M{x:.1} {TOP}V{bottom}\" stroke=\"#dddddd\"/>"));
        add(svg, format_args!("<text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>", bottom + 18.0, name_of(power)));
        power += 1.0;
    }
}

fn name_of(power: f64) -> String {
    match power {
        ..3.0 => format!("{}", 10_f64.powf(power)),
        3.0..6.0 => format!("{} k", 10_f64.powf(power - 3.0)),
        _ => format!("{} M", 10_f64.powf(power - 6.0)),
    }
}

fn add(svg: &mut String, element: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = writeln!(svg, "{element}");
}
