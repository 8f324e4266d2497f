//! `myriad-bench chart`: the recorded rows against the baselines, as an SVG for the README.
//!
//! The text of the picture depends on the recorded files only. It brings its own background and follows the reader's
//! light or dark scheme.

use crate::aoi::verdict::ROWS;
use anyhow::{Context, ensure};
use clap::Args;
use serde::Deserialize;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// What is drawn.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Example:
  After a measurement, the picture in the README:
      myriad-bench aoi-table --json bench/results/aoi
      myriad-bench chart --out bench/results/aoi.svg")]
pub struct ChartArgs {
    /// Where `myriad-bench aoi-table --json` wrote its files.
    #[arg(long, value_name = "DIR", default_value = "bench/results/aoi")]
    pub results: PathBuf,
    /// The picture.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

/// What the chart reads of a recorded row.
#[derive(Clone, Debug, Deserialize)]
struct Recorded {
    title: String,
    cpu: String,
    kernel: String,
    amortised_ms: f64,
    baselines_ms: Option<Baselines>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
struct Baselines {
    grid_vec: f64,
    rstar: f64,
    cross_list: Option<f64>,
}

/// Bars that belong together.
#[derive(Clone, Debug)]
struct Group {
    title: String,
    /// What, and its ms per tick; Myriad first.
    bars: Vec<(&'static str, f64)>,
}

/// Reads the recorded rows and draws those that have baselines.
///
/// # Errors
/// If there are none, or a file can't be read or written.
pub fn run(args: &ChartArgs) -> anyhow::Result<()> {
    let mut rows = Vec::new();
    for row in &ROWS {
        rows.extend(read(&args.results.join(format!("{}.json", row.name)))?);
    }
    let groups: Vec<Group> = rows.iter().filter_map(group).collect();
    ensure!(
        !groups.is_empty(),
        "{} holds no row with baselines; `myriad-bench aoi-table --json {0}` records them",
        args.results.display()
    );
    let note = format!("{}, {}", rows[0].cpu, rows[0].kernel);
    std::fs::write(&args.out, draw(&groups, &note)).with_context(|| format!("writing {}", args.out.display()))
}

/// `None` for a row that was not recorded.
fn read(file: &Path) -> anyhow::Result<Option<Recorded>> {
    if !file.is_file() {
        return Ok(None);
    }
    let text = std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    let row = serde_json::from_str(&text);
    row.map(Some)
        .with_context(|| format!("{} is no recorded row", file.display()))
}

fn group(row: &Recorded) -> Option<Group> {
    let baselines = row.baselines_ms?;
    let mut bars = vec![("Myriad", row.amortised_ms)];
    bars.extend(baselines.cross_list.map(|ms| ("cross-linked lists", ms)));
    bars.push(("rstar", baselines.rstar));
    bars.push(("grid + sorted Vec", baselines.grid_vec));
    Some(Group {
        title: row.title.clone(),
        bars,
    })
}

// The picture's measures, in pixels.
const WIDTH: f64 = 860.0;
const BARS_LEFT: f64 = 158.0;
const BARS_RIGHT: f64 = 720.0;
const TOP: f64 = 96.0;
const BAR: f64 = 15.0;
const BAR_PITCH: f64 = 19.0;
const GROUP_TITLE: f64 = 24.0;
const GROUP_GAP: f64 = 14.0;
const BOTTOM: f64 = 34.0;

/// What a tick may take at 10 Hz, in ms.
const TICK_MS: f64 = 100.0;

const STYLE: &str = "\
text { font: 13px system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif; fill: #1f2328; }
.title { font-size: 17px; font-weight: 600; }
.group { font-weight: 600; }
.muted { fill: #59636e; }
.axis { font-size: 11px; }
.ground { fill: #ffffff; stroke: #d1d9e0; }
.line { stroke: #e4e8ec; }
.tick { stroke: #bc4c00; stroke-dasharray: 4 3; }
.ticktext { fill: #bc4c00; }
.bar { fill: #afb8c1; }
.myriad { fill: #0969da; }
@media (prefers-color-scheme: dark) {
text { fill: #f0f6fc; }
.muted { fill: #9198a1; }
.ground { fill: #0d1117; stroke: #3d444d; }
.line { stroke: #262c36; }
.tick { stroke: #db6d28; }
.ticktext { fill: #db6d28; }
.bar { fill: #59626d; }
.myriad { fill: #4493f8; }
}
";

/// A logarithmic axis over whole decades.
#[derive(Clone, Copy, Debug)]
struct Axis {
    low: i32,
    high: i32,
}

impl Axis {
    fn over(groups: &[Group]) -> Self {
        let all = || {
            groups
                .iter()
                .flat_map(|group| &group.bars)
                .map(|(_, ms)| ms.max(1e-6))
        };
        let least = all().fold(f64::INFINITY, f64::min);
        let most = all().fold(TICK_MS, f64::max);
        Self {
            // A bar of a whole decade's lower end would have no length.
            low: (least * 0.8).log10().floor() as i32,
            high: most.log10().ceil() as i32,
        }
    }

    fn x(self, ms: f64) -> f64 {
        let decades = ms.max(1e-6).log10() - f64::from(self.low);
        BARS_LEFT + decades / f64::from(self.high - self.low) * (BARS_RIGHT - BARS_LEFT)
    }
}

fn draw(groups: &[Group], note: &str) -> String {
    let axis = Axis::over(groups);
    let bars: usize = groups.iter().map(|group| group.bars.len()).sum();
    let inner = bars as f64 * BAR_PITCH + groups.len() as f64 * (GROUP_TITLE + GROUP_GAP);
    let height = TOP + inner + BOTTOM;
    let mut svg = Svg::default();
    svg.line(format_args!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" role="img" aria-labelledby="title">"#
    ));
    svg.line(format_args!(
        r#"<title id="title">Milliseconds of CPU per tick: Myriad's interest engine and three other ways</title>"#
    ));
    svg.line(format_args!("<style>\n{STYLE}</style>"));
    svg.line(format_args!(
        r#"<rect class="ground" x="0.5" y="0.5" width="{}" height="{}" rx="6"/>"#,
        WIDTH - 1.0,
        height - 1.0
    ));
    svg.text(
        20.0,
        32.0,
        "title",
        "Who sees whom: CPU time per tick, one thread",
    );
    let how = "Everybody walks at 5 m/s; exact enters and leaves. Logarithmic: each line is ten times the one before.";
    svg.text(20.0, 53.0, "muted", how);
    draw_axis(&mut svg, axis, height - BOTTOM);
    let mut y = TOP;
    for group in groups {
        y += GROUP_TITLE;
        svg.text(20.0, y - 7.0, "group", &group.title);
        let (_, first_ms) = group.bars[0];
        for (number, (what, ms)) in group.bars.iter().enumerate() {
            let class = if number == 0 { "bar myriad" } else { "bar" };
            let end = axis.x(*ms);
            svg.line(format_args!(
                r#"<rect class="{class}" x="{BARS_LEFT}" y="{y}" width="{:.1}" height="{BAR}" rx="2"/>"#,
                end - BARS_LEFT
            ));
            let name_class = if number == 0 { "group" } else { "muted" };
            svg.text_ending(BARS_LEFT - 8.0, y + 12.0, name_class, what);
            svg.text(
                end + 6.0,
                y + 12.0,
                name_class,
                &value(*ms, (number > 0).then_some(ms / first_ms)),
            );
            y += BAR_PITCH;
        }
        y += GROUP_GAP;
    }
    svg.text(20.0, height - 13.0, "muted axis", note);
    svg.line(format_args!("</svg>"));
    svg.0
}

fn draw_axis(svg: &mut Svg, axis: Axis, bottom: f64) {
    for decade in axis.low..=axis.high {
        let ms = 10f64.powi(decade);
        let x = axis.x(ms);
        svg.line(format_args!(
            r#"<line class="line" x1="{x:.1}" y1="{TOP}" x2="{x:.1}" y2="{bottom}"/>"#
        ));
        svg.text_centred(x, TOP - 6.0, "muted axis", &format!("{} ms", thousands(ms)));
    }
    let x = axis.x(TICK_MS);
    svg.line(format_args!(
        r#"<line class="tick" x1="{x:.1}" y1="{TOP}" x2="{x:.1}" y2="{bottom}"/>"#
    ));
    svg.text_centred(x, TOP - 20.0, "ticktext axis", "all of a tick at 10 Hz");
}

/// Lines of an SVG.
#[derive(Debug, Default)]
struct Svg(String);

impl Svg {
    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        writeln!(self.0, "{line}").expect("a String takes everything");
    }

    fn text(&mut self, x: f64, y: f64, class: &str, text: &str) {
        self.anchored(x, y, class, "start", text);
    }

    fn text_ending(&mut self, x: f64, y: f64, class: &str, text: &str) {
        self.anchored(x, y, class, "end", text);
    }

    fn text_centred(&mut self, x: f64, y: f64, class: &str, text: &str) {
        self.anchored(x, y, class, "middle", text);
    }

    fn anchored(&mut self, x: f64, y: f64, class: &str, anchor: &str, text: &str) {
        let text = escaped(text);
        self.line(format_args!(
            r#"<text class="{class}" x="{x:.1}" y="{y:.1}" text-anchor="{anchor}">{text}</text>"#
        ));
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// For people: three digits, and how many times as much it is.
fn value(ms: f64, times: Option<f64>) -> String {
    let digits = match ms {
        ms if ms >= 100.0 => thousands(ms.round()),
        ms if ms >= 10.0 => format!("{ms:.1}"),
        ms if ms >= 0.1 => format!("{ms:.2}"),
        ms => format!("{ms:.3}"),
    };
    match times {
        Some(times) if times >= 10.0 => format!("{digits} ms ({} ×)", thousands(times.round())),
        Some(times) => format!("{digits} ms ({times:.1} ×)"),
        None => format!("{digits} ms"),
    }
}

/// Whole numbers from a thousand on with their thousands apart; smaller ones as they are.
fn thousands(number: f64) -> String {
    if number < 1000.0 {
        return number.to_string();
    }
    let digits = format!("{number:.0}");
    let mut told = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            told.push(',');
        }
        told.push(digit);
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded(title: &str, ms: f64, cross_list: Option<f64>) -> Recorded {
        let json = serde_json::json!({
            "title": title, "cpu": "A & B <CPU>", "kernel": "avx512", "amortised_ms": ms, "more": [1, 2],
            "baselines_ms": {"grid_vec": 183.0, "rstar": 1240.0, "cross_list": cross_list},
        });
        serde_json::from_value(json).expect("these are the keys")
    }

    fn picture() -> String {
        let rows = [
            recorded("10k, ~1000 visible", 0.52, Some(324.0)),
            recorded("gateway", 0.04, None),
        ];
        let groups: Vec<Group> = rows.iter().filter_map(group).collect();
        draw(&groups, &rows[0].cpu)
    }

    /// The names of elements that are open, in order; panics where one is closed that is not.
    fn check_well_formed(svg: &str) {
        let mut open = Vec::new();
        for part in svg.split('<').skip(1) {
            let (tag, text) = part.split_once('>').expect("every tag ends");
            assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
            assert!(!text.contains('>'), "{text}");
            for entity in text.split('&').skip(1) {
                let known = ["amp;", "lt;", "gt;"]
                    .iter()
                    .any(|known| entity.starts_with(known));
                assert!(known, "&{entity}");
            }
            let name = tag.split(|c: char| c.is_whitespace()).next().unwrap_or_default();
            match name.strip_prefix('/') {
                Some(name) => assert_eq!(open.pop(), Some(name)),
                None if tag.ends_with('/') => {}
                None => open.push(name),
            }
        }
        assert!(open.is_empty(), "{open:?} are never closed");
    }

    #[test]
    fn the_picture_is_well_formed_and_always_the_same() {
        let svg = picture();
        check_well_formed(&svg);
        assert_eq!(svg, picture());
        assert!(svg.contains("A &amp; B &lt;CPU&gt;"));
        assert_eq!(svg.matches(r#"class="bar myriad""#).count(), 2);
        assert_eq!(svg.matches(r#"class="bar""#).count(), 5);
    }

    #[test]
    fn bars_are_as_long_as_the_logarithm() {
        let group = |ms| Group {
            title: String::new(),
            bars: vec![("Myriad", ms), ("rstar", 1000.0)],
        };
        let axis = Axis::over(&[group(0.5)]);
        assert_eq!((axis.low, axis.high), (-1, 3));
        assert!((axis.x(0.1) - BARS_LEFT).abs() < 1e-9 && (axis.x(1000.0) - BARS_RIGHT).abs() < 1e-9);
        assert!((axis.x(10.0) - (BARS_LEFT + BARS_RIGHT) / 2.0).abs() < 1e-9);
        assert_eq!(Axis::over(&[group(0.1)]).low, -2, "0.1 still has a length");
    }

    #[test]
    fn figures_have_three_digits() {
        assert_eq!(value(0.0523, None), "0.052 ms");
        assert_eq!(value(0.523, None), "0.52 ms");
        assert_eq!(value(18.26, Some(35.1)), "18.3 ms (35 ×)");
        assert_eq!(value(1240.0, Some(2384.6)), "1,240 ms (2,385 ×)");
        assert_eq!(value(1.5, Some(3.0)), "1.50 ms (3.0 ×)");
        assert_eq!(thousands(1_234_567.0), "1,234,567");
        assert_eq!(thousands(0.01), "0.01");
    }

    #[test]
    fn rows_without_baselines_or_files_are_left_out() {
        let bare = r#"{"title": "a", "cpu": "b", "kernel": "c", "amortised_ms": 1.0, "baselines_ms": null}"#;
        assert!(group(&serde_json::from_str(bare).expect("these are the keys")).is_none());
        assert!(
            read(Path::new("no/such/file.json"))
                .expect("it is not an error")
                .is_none()
        );
    }
}
