//! Calls over time as SVG: those that come and those that pass, counted from the start.
//!
//! In such a picture a bucket can be read off: the curve of those that pass rises to `maxTokens` at once, and from there by `maxTokens` in
//! every `refillPeriod`. The text is left to the viewer's fonts, and the colours follow its theme.

use std::{fmt::Write, time::Duration};

use super::{
    simulate::{Point, Simulated, short},
    text::thousands,
};

/// The picture.
const SIZE: (f64, f64) = (800.0, 440.0);
/// The edges of the area that curves are drawn in.
const LEFT: f64 = 70.0;
const RIGHT: f64 = 770.0;
const TOP: f64 = 88.0;
const BOTTOM: f64 = 390.0;

const STYLE: &str = "\
    svg { font: 13px system-ui, sans-serif; background: #fff; fill: #1f2328 } \
    .title { font-size: 15px; font-weight: 600 } .quiet { fill: #59636e } \
    .grid { stroke: #d1d9e0; stroke-width: 1 } \
    .come { fill: none; stroke: #818b98; stroke-width: 1.5; stroke-dasharray: 5 4 } \
    .pass { fill: none; stroke: #0969da; stroke-width: 2.5 } .area { fill: #0969da; fill-opacity: .12; stroke: none } \
    @media (prefers-color-scheme: dark) { svg { background: #0d1117; fill: #f0f6fc } .quiet { fill: #9198a1 } .grid { stroke: #3d444d } \
    .come { stroke: #9198a1 } .pass { stroke: #4493f8 } .area { fill: #4493f8 } }";

/// A picture of a run.
pub fn svg(title: &str, run: &Simulated) -> String {
    let scale = Scale { seconds: run.duration.as_secs_f64(), calls: nice_ceiling(run.asked.max(1)) };
    let (width, height) = SIZE;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" role=\"img\">\n\
         <title>{}</title>\n<style>{STYLE}</style>\n",
        escaped(title),
    );
    headings(&mut out, title, run);
    grid(&mut out, &scale, run.duration);
    let pass = staircase(&scale, &run.curve, |point| point.admitted);
    let _ = writeln!(out, "<path class=\"area\" d=\"{pass}V{BOTTOM}H{LEFT}Z\"/>");
    let _ = writeln!(out, "<path class=\"come\" d=\"{}\"/>", staircase(&scale, &run.curve, |point| point.asked));
    let _ = writeln!(out, "<path class=\"pass\" d=\"{pass}\"/>");
    if let Some(denied) = run.denied.first() {
        // Under the axis, where no curve runs through it.
        let words = escaped(&format!("{}: {}", fitting(&denied.limit, 30), denied.pace));
        let _ = writeln!(out, "<text class=\"quiet\" x=\"{LEFT}\" y=\"{}\">{words}</text>", SIZE.1 - 8.0);
    }
    out.push_str("</svg>\n");
    out
}

/// From a run to the picture.
struct Scale {
    seconds: f64,
    calls: u64,
}

impl Scale {
    fn x(&self, at: Duration) -> f64 {
        LEFT + (RIGHT - LEFT) * at.as_secs_f64() / self.seconds
    }

    fn y(&self, calls: u64) -> f64 {
        BOTTOM - (BOTTOM - TOP) * calls as f64 / self.calls as f64
    }
}

fn headings(out: &mut String, title: &str, run: &Simulated) {
    let heading = fitting(&format!("{title}: calls of {} {}", run.tool, run.by()), 68);
    let _ = writeln!(out, "<text class=\"title\" x=\"{LEFT}\" y=\"24\">{}</text>", escaped(&heading));
    let come = format!("{} come: {}", thousands(run.asked), run.load);
    let pass = [format!("{} pass", thousands(run.admitted)), run.denials()].join("; ");
    for (class, text, y) in [("come", come.as_str(), 48), ("pass", pass.trim_end_matches("; "), 68)] {
        let _ = writeln!(
            out,
            "<path class=\"{class}\" d=\"M{LEFT} {}h24\"/><text x=\"{}\" y=\"{y}\">{}</text>",
            y - 4,
            LEFT + 32.0,
            escaped(&fitting(text, 88))
        );
    }
}

fn grid(out: &mut String, scale: &Scale, duration: Duration) {
    let step = scale.calls / 5;
    for calls in (0..=5).map(|nth| nth * step.max(1)).take_while(|calls| *calls <= scale.calls) {
        let y = scale.y(calls);
        let _ = writeln!(out, "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{RIGHT}\"/>");
        let _ = writeln!(
            out,
            "<text class=\"quiet\" x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 8.0,
            y + 4.0,
            thousands(calls)
        );
    }
    let step = nice_step(duration);
    for nth in 0..=20_u32 {
        let at = step.saturating_mul(nth);
        if at > duration {
            break;
        }
        let x = scale.x(at);
        let _ = writeln!(out, "<path class=\"grid\" d=\"M{x:.1} {BOTTOM}v6\"/>");
        // Under its mark, unless that is where the picture ends.
        let (x, anchor) = if at == duration { (SIZE.0 - 8.0, "end") } else { (x, "middle") };
        let _ = writeln!(out, "<text class=\"quiet\" x=\"{x:.1}\" y=\"{}\" text-anchor=\"{anchor}\">{}</text>", BOTTOM + 22.0, short(at));
    }
    let _ = writeln!(
        out,
        "<text class=\"quiet\" x=\"{RIGHT}\" y=\"{}\" text-anchor=\"end\">calls since the start, over time</text>",
        SIZE.1 - 8.0
    );
}

/// A path that is level between two points and rises at each.
fn staircase(scale: &Scale, curve: &[Point], calls: impl Fn(&Point) -> u64) -> String {
    let mut path = format!("M{LEFT} {BOTTOM}");
    let mut before = 0;
    for (nth, point) in curve.iter().enumerate() {
        let now = calls(point);
        let is_last = nth + 1 == curve.len();
        if now != before || is_last {
            let _ = write!(path, "H{:.1}", scale.x(point.at));
        }
        if now != before {
            let _ = write!(path, "V{:.1}", scale.y(now));
        }
        before = now;
    }
    path
}

/// Five times the least round number with which that is not less than `number`: five lines at round numbers fit under it.
fn nice_ceiling(number: u64) -> u64 {
    let powers = (0..19).map(|power| 10_u64.saturating_pow(power));
    powers
        .flat_map(|power| [1, 2, 3, 4, 5, 6, 8].map(|times| power.saturating_mul(times * 5)))
        .find(|nice| *nice >= number)
        .unwrap_or(u64::MAX)
}

/// A step of time that gives four to ten marks.
fn nice_step(duration: Duration) -> Duration {
    const SECONDS: [u64; 20] =
        [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 14_400, 21_600, 43_200, 86_400, 172_800, 604_800];
    let below_a_second = (0..9).flat_map(|power| [1, 2, 5].map(|times| Duration::from_nanos(times * 10_u64.pow(power))));
    let steps = below_a_second.chain(SECONDS.map(Duration::from_secs));
    let mut steps = steps.skip_while(|step| step.saturating_mul(8) < duration);
    steps.next().unwrap_or(duration / 8)
}

/// As much of a text as there is room for.
fn fitting(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(3)).chain("...".chars()).collect()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_round_and_neither_few_nor_many() {
        for secs in [0.000_001, 0.3, 1.0, 7.0, 60.0, 180.0, 1_000.0, 86_400.0, 1_209_600.0] {
            let duration = Duration::from_secs_f64(secs);
            let marks = duration.as_secs_f64() / nice_step(duration).as_secs_f64();
            assert!((3.0..=8.0).contains(&marks), "{secs}: {marks}");
        }
        assert_eq!(nice_step(Duration::from_secs(600)), Duration::from_secs(120));
    }

    #[test]
    fn ceilings_hold_what_is_below_them_in_five_parts() {
        for number in [1, 5, 6, 7, 99, 640, 1_000_000] {
            let ceiling = nice_ceiling(number);
            assert!(ceiling >= number && ceiling <= number.max(5) * 2 && ceiling.is_multiple_of(5), "{number}: {ceiling}");
        }
    }

    #[test]
    fn names_cannot_leave_their_text() {
        assert_eq!((fitting("short", 5), fitting("longer", 5)), ("short".to_owned(), "lo...".to_owned()));
        assert_eq!(escaped("<a b=\"&\">"), "&lt;a b=&quot;&amp;&quot;&gt;");
    }
}
