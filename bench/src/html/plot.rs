//! Plots as inline SVG: curves over an axis, and bars. Colours are classes of the page's style sheet.

use crate::html::escaped;
use std::fmt::Write as _;

const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 232.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 26.0;
const BOTTOM: f64 = 34.0;
/// How many lines an axis has, about.
const TICKS: f64 = 5.0;
/// Colours of the style sheet.
const COLOURS: usize = 7;

/// A curve: absent figures are gaps.
pub(super) struct Curve {
    pub(super) name: &'static str,
    pub(super) colour: usize,
    pub(super) dashed: bool,
    pub(super) points: Vec<(f64, Option<f64>)>,
}

/// A part of a bar, or a bar.
pub(super) struct Part {
    pub(super) name: String,
    pub(super) size: f64,
}

/// Curves over `across`; `None` if not one figure is known.
pub(super) fn curves(curves: &[Curve], across: &str, unit: &str) -> Option<String> {
    let known: Vec<&Curve> = curves
        .iter()
        .filter(|curve| curve.points.iter().any(|(_, y)| y.is_some()))
        .collect();
    let points = || known.iter().flat_map(|curve| &curve.points);
    let y_most = points().filter_map(|(_, y)| *y).reduce(f64::max)?;
    let x_most = points().map(|(x, _)| *x).reduce(f64::max)?;
    let (y_step, x_step) = (step(y_most), step(x_most));
    let y_top = (y_most / y_step).ceil().max(1.0) * y_step;
    let x_end = if x_most > 0.0 { x_most } else { 1.0 };
    let x_of = |x: f64| LEFT + x / x_end * (WIDTH - LEFT - RIGHT);
    let y_of = |y: f64| HEIGHT - BOTTOM - y / y_top * (HEIGHT - TOP - BOTTOM);
    let mut svg = opened(HEIGHT);
    for line in 0..=(y_top / y_step).round() as u32 {
        let value = f64::from(line) * y_step;
        let (y, class) = (y_of(value), if line == 0 { "axis" } else { "grid" });
        write!(
            svg,
            r#"<line class="{class}" x1="{LEFT}" y1="{y:.1}" x2="{:.1}" y2="{y:.1}"/>"#,
            WIDTH - RIGHT
        )
        .expect(FITS);
        text(&mut svg, LEFT - 8.0, y + 4.0, "end", "", &number(value, y_step));
    }
    text(&mut svg, LEFT - 8.0, 12.0, "end", "", unit);
    for line in 0..=(x_end / x_step).floor() as u32 {
        let value = f64::from(line) * x_step;
        text(
            &mut svg,
            x_of(value),
            HEIGHT - BOTTOM + 16.0,
            "middle",
            "",
            &number(value, x_step),
        );
    }
    text(&mut svg, WIDTH - RIGHT, HEIGHT - 3.0, "end", "", across);
    for curve in &known {
        let mut path = String::new();
        let mut is_drawing = false;
        for (x, y) in &curve.points {
            if let Some(y) = y {
                let letter = if is_drawing { 'L' } else { 'M' };
                write!(path, "{letter}{:.1} {:.1}", x_of(*x), y_of(*y)).expect(FITS);
            }
            is_drawing = y.is_some();
        }
        write!(svg, r#"<path class="{}" d="{path}"/>"#, line_class(curve)).expect(FITS);
    }
    legend(&mut svg, &known);
    svg.push_str("</svg>");
    Some(svg)
}

fn line_class(curve: &Curve) -> String {
    let dashed = if curve.dashed { " dashed" } else { "" };
    format!("curve s{}{dashed}", curve.colour % COLOURS)
}

fn legend(svg: &mut String, curves: &[&Curve]) {
    // A letter is some 6.5 pixels wide; there is no way to ask.
    let mut x = WIDTH - RIGHT;
    for curve in curves.iter().rev() {
        x -= curve.name.chars().count() as f64 * 6.5;
        text(svg, x, 12.0, "start", "name", curve.name);
        write!(
            svg,
            r#"<path class="{}" d="M{:.1} 8L{:.1} 8"/>"#,
            line_class(curve),
            x - 24.0,
            x - 6.0
        )
        .expect(FITS);
        x -= 38.0;
    }
}

/// One bar of all parts, and below it each part with its figure. `None` if there is nothing.
pub(super) fn stack(parts: &[Part], unit: &str) -> Option<String> {
    let total: f64 = parts.iter().map(|part| part.size).sum();
    if total <= 0.0 {
        return None;
    }
    const BAR: f64 = 34.0;
    const PITCH: f64 = 21.0;
    let height = BAR + 18.0 + PITCH * parts.len() as f64;
    let mut svg = opened(height);
    let mut x = 0.0;
    for (number, part) in parts.iter().enumerate() {
        let width = part.size / total * WIDTH;
        rect(&mut svg, number, (x, 0.0), (width, BAR));
        x += width;
    }
    for (number, part) in parts.iter().enumerate() {
        let y = BAR + 24.0 + PITCH * number as f64;
        rect(&mut svg, number, (0.0, y - 10.0), (12.0, 12.0));
        text(&mut svg, 20.0, y, "start", "name", &part.name);
        text(
            &mut svg,
            300.0,
            y,
            "end",
            "name",
            &format!("{} {unit}", figure(part.size)),
        );
        let share = format!("{:.1} %", part.size / total * 100.0);
        text(&mut svg, 370.0, y, "end", "", &share);
    }
    svg.push_str("</svg>");
    Some(svg)
}

/// A bar for each part, one below the other. `None` if there is nothing.
pub(super) fn bars(parts: &[Part], unit: &str) -> Option<String> {
    let most = parts
        .iter()
        .map(|part| part.size)
        .reduce(f64::max)
        .filter(|most| *most > 0.0)?;
    const PITCH: f64 = 23.0;
    const NAMES: f64 = 150.0;
    const FIGURES: f64 = 90.0;
    let mut svg = opened(PITCH * parts.len() as f64 + 4.0);
    for (number, part) in parts.iter().enumerate() {
        let y = PITCH * number as f64;
        let width = part.size / most * (WIDTH - NAMES - FIGURES);
        text(&mut svg, NAMES - 8.0, y + 14.0, "end", "name", &part.name);
        rect(&mut svg, 0, (NAMES, y + 2.0), (width, 16.0));
        let figure = format!("{} {unit}", figure(part.size));
        text(&mut svg, NAMES + width + 6.0, y + 14.0, "start", "", &figure);
    }
    svg.push_str("</svg>");
    Some(svg)
}

const FITS: &str = "a String takes everything";

fn opened(height: f64) -> String {
    format!(r#"<svg viewBox="0 0 {WIDTH} {height}" role="img">"#)
}

fn rect(svg: &mut String, colour: usize, (x, y): (f64, f64), (width, height): (f64, f64)) {
    let colour = colour % COLOURS;
    write!(
        svg,
        r#"<rect class="f{colour}" x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}"/>"#
    )
    .expect(FITS);
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, class: &str, text: &str) {
    let text = escaped(text);
    write!(
        svg,
        r#"<text class="{class}" x="{x:.1}" y="{y:.1}" text-anchor="{anchor}">{text}</text>"#
    )
    .expect(FITS);
}

/// One, two or five times a power of ten, so that an axis up to `most` has about [`TICKS`] lines.
fn step(most: f64) -> f64 {
    if most <= 0.0 {
        return 1.0;
    }
    let rough = most / TICKS;
    let power = 10f64.powf(rough.log10().floor());
    let factors = [1.0, 2.0, 5.0, 10.0];
    let factor = factors.into_iter().find(|factor| factor * power >= rough * 0.999);
    factor.unwrap_or(10.0) * power
}

/// A figure of an axis whose lines are `step` apart.
fn number(value: f64, step: f64) -> String {
    let digits = (-step.log10().floor()).max(0.0) as usize;
    format!("{value:.digits$}")
}

/// A figure with about three digits.
pub(super) fn figure(value: f64) -> String {
    match value.abs() {
        size if size >= 1e6 => format!("{:.1} million", value / 1e6),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size == size.round() => format!("{value:.0}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(points: &[(f64, Option<f64>)]) -> Curve {
        Curve {
            name: "a < b",
            colour: 9,
            dashed: true,
            points: points.to_vec(),
        }
    }

    #[test]
    fn a_gap_lifts_the_pen() {
        let points = [(0.0, Some(0.0)), (1.0, Some(10.0)), (2.0, None), (3.0, Some(5.0))];
        let svg = curves(&[curve(&points)], "seconds", "ms").expect("there are figures");
        let path = svg.split("d=\"").nth(1).expect("a path");
        let path = path.split('"').next().expect("its end");
        assert_eq!(
            (path.matches('M').count(), path.matches('L').count()),
            (2, 1),
            "{path}"
        );
        assert!(path.starts_with(&format!("M{LEFT:.1} {:.1}", HEIGHT - BOTTOM)));
        assert!(
            path.contains(&format!("L{:.1} {TOP:.1}", LEFT + (WIDTH - LEFT - RIGHT) / 3.0)),
            "{path}"
        );
        assert!(svg.contains("curve s2 dashed") && svg.contains("a &lt; b"));
    }

    #[test]
    fn what_nobody_measured_is_not_drawn() {
        assert!(curves(&[curve(&[(0.0, None)])], "", "").is_none());
        assert!(curves(&[], "", "").is_none());
        assert!(stack(&[], "").is_none() && bars(&[], "").is_none());
    }

    #[test]
    fn a_stack_is_as_wide_as_the_plot() {
        let part = |name: &str, size| Part {
            name: name.into(),
            size,
        };
        let svg = stack(&[part("near", 75.0), part("own", 25.0)], "B").expect("there are bytes");
        assert!(svg.contains(r#"width="420.0""#) && svg.contains(r#"x="420.0" y="0.0" width="140.0""#));
        assert!(svg.contains("75.0 %"));
    }

    #[test]
    fn axes_have_round_steps() {
        for (most, expected) in [
            (0.0, 1.0),
            (1.0, 0.2),
            (4.9, 1.0),
            (180.0, 50.0),
            (2_000.0, 500.0),
        ] {
            assert!((step(most) - expected).abs() < 1e-9, "{most}: {}", step(most));
        }
        assert_eq!(
            (number(0.4, 0.2).as_str(), number(150.0, 50.0).as_str()),
            ("0.4", "150")
        );
    }
}
