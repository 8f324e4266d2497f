//! The report for people.

use crate::histogram::Percentiles;
use crate::report::Report;
use std::fmt::{Display, Formatter, Result};

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let header = &self.header;
        writeln!(
            f,
            "{} clients, {} entities, {} Hz, {:.1} s, motion {}, seed {}",
            self.clients,
            self.entities,
            self.hz,
            header.seconds,
            self.motion.name(),
            self.seed
        )?;
        writeln!(
            f,
            "  on {} ({}), Linux {}",
            header.machine, header.cpu, header.kernel
        )?;
        self.fmt_states(f)?;
        self.fmt_clients(f)?;
        self.fmt_costs(f)?;
        self.fmt_checks(f)
    }
}

impl Report {
    fn fmt_states(&self, f: &mut Formatter<'_>) -> Result {
        if let (Some(min), Some(mean)) = (self.coverage_min, self.coverage_mean) {
            line(
                f,
                "coverage",
                format_args!("worst client and second {min:.4}, mean {mean:.6}"),
            )?;
        }
        if let Some(all) = self.staleness_ms.all {
            line(f, "staleness", format_args!("all {}", figures(all, 0, "ms")))?;
        }
        if let Some(near) = self.staleness_ms.near {
            line(f, "", format_args!("near {}", figures(near, 0, "ms")))?;
        }
        if let Some(error) = self.codec_error_m {
            let text = format_args!(
                "near {:.4} m per axis, crowd {:.4} m at most",
                error.near, error.crowd
            );
            line(f, "codec error", text)?;
        }
        if let Some(shown) = self.shown_error_m.and_then(|shown| shown.all) {
            line(f, "shown error", format_args!("all {}", figures(shown, 3, "m")))?;
        }
        if let Some(shown) = self.shown_error_m.and_then(|shown| shown.near) {
            line(f, "", format_args!("near {}", figures(shown, 3, "m")))?;
        }
        if let Some(behind) = self.clock_behind_ms {
            line(
                f,
                "",
                format_args!("clocks behind by {}", figures(behind, 0, "ms")),
            )?;
        }
        let sampled = &self.sampled;
        line(
            f,
            "looked at",
            format_args!(
                "{:.1} % of the client-ticks, {} staleness pairs (all), {} states (1 in {}, own tracks 1 in {}), \
                 {} shown (1 in {}), {} properties",
                sampled.client_ticks_share * 100.0,
                sampled.staleness_pairs,
                sampled.codec_states,
                sampled.codec_one_in,
                sampled.track_one_in,
                sampled.shown_positions,
                sampled.shown_one_in,
                sampled.properties
            ),
        )
    }

    fn fmt_clients(&self, f: &mut Formatter<'_>) -> Result {
        line(
            f,
            "clients",
            format_args!(
                "{} lost, {} corrections, {} commands refused",
                self.clients_lost, self.corrections, self.commands_refused
            ),
        )?;
        for (why, count) in &self.lost_reasons {
            line(f, "", format_args!("lost {count}: {why}"))?;
        }
        for (why, count) in &self.refusals {
            line(f, "", format_args!("refused {count}: {why}"))?;
        }
        line(
            f,
            "intents",
            format_args!(
                "{} sent, {} lost, {} left out because the bots were late",
                self.intents_sent, self.intents_lost, self.intents_skipped
            ),
        )?;
        if let Some(join) = self.join_s {
            line(f, "join", format_args!("{}", figures(join, 3, "s")))?;
        }
        if let Some(covered) = self.all_covered_s {
            line(
                f,
                "",
                format_args!("all held all of their view after {covered:.2} s"),
            )?;
        }
        if let Some(slow) = self.slow {
            let staleness = slow
                .staleness_ms
                .all
                .map_or_else(String::new, |all| figures(all, 0, "ms"));
            line(
                f,
                "slow",
                format_args!(
                    "{} clients, {} lost, staleness {staleness}",
                    slow.clients, slow.lost
                ),
            )?;
        }
        if let Some(churn) = self.churn {
            line(
                f,
                "churn",
                format_args!("{} came or went, {} ghosts", churn.left, churn.ghosts),
            )?;
        }
        let views = &self.views;
        line(
            f,
            "views",
            format_args!(
                "{} enters, {} leaves, {} events; {} doubled, {} inconsistent",
                views.entered, views.left, self.events, views.doubled, views.inconsistent
            ),
        )
    }

    fn fmt_costs(&self, f: &mut Formatter<'_>) -> Result {
        let bytes = &self.bytes_per_client_s;
        line(
            f,
            "bytes",
            format_args!(
                "{:.0} per client and second: near {:.0}, crowd {:.0} + membership {:.0} + keyframes {:.0}, identity {:.0}, own {:.0}, transport {:.0}",
                bytes.total,
                bytes.near,
                bytes.crowd_state,
                bytes.crowd_membership,
                bytes.crowd_keyframe,
                bytes.identity,
                bytes.own,
                bytes.transport
            ),
        )?;
        line(f, "updates", format_args!("{:.0} per second", self.updates_per_s))?;
        let cpu = &self.cpu_s;
        let server = cpu
            .server
            .map_or("not measured".to_owned(), |server| format!("{server:.2} s"));
        line(
            f,
            "CPU",
            format_args!(
                "server {server}, bots {:.2} s, their decoding {:.2} s, their checks {:.2} s",
                cpu.bots_net, cpu.bots_decode, cpu.bots_verify
            ),
        )?;
        let rss = &self.rss_mib;
        let server = rss
            .server
            .map_or("not measured".to_owned(), |server| format!("{server:.0} MiB"));
        line(
            f,
            "memory",
            format_args!("server {server}, bots {:.0} MiB", rss.bots),
        )
    }

    fn fmt_checks(&self, f: &mut Formatter<'_>) -> Result {
        let (Some(checks), Some(ticks)) = (&self.checks, &self.ticks) else {
            return line(
                f,
                "truth",
                format_args!("none: views, avatars, speeds and coverage were not compared"),
            );
        };
        let views = &self.views;
        line(
            f,
            "true views",
            format_args!(
                "{} edges late ({} more while joining), {} missing, {} extra; at the end {} subjects missing, {} extra; {} clients unchecked",
                views.late,
                views.late_joining,
                views.edges_missing,
                views.edges_extra,
                views.missing,
                views.extra,
                views.unchecked
            ),
        )?;
        line(
            f,
            "obedience",
            format_args!(
                "{} avatar-ticks, {} disobeyed",
                checks.obedience_checked, checks.disobeyed
            ),
        )?;
        if let Some(speed) = checks.speed_m_s {
            let text = format_args!("{}, {} too fast", figures(speed, 2, "m/s"), checks.speeding);
            line(f, "speeds", text)?;
        }
        line(
            f,
            "properties",
            format_args!("{} of {} wrong", checks.properties_wrong, self.sampled.properties),
        )?;
        if let Some(handoffs) = self.handoffs {
            line(
                f,
                "hand-offs",
                format_args!(
                    "{}, in no lane for p99 {}, max {} ticks, {} in two lanes, {} lost",
                    handoffs.count,
                    handoffs.pause_ticks.p99,
                    handoffs.pause_ticks.max,
                    handoffs.doubled,
                    handoffs.lost
                ),
            )?;
        }
        let decoding = &self.decoding;
        line(
            f,
            "decoding",
            format_args!(
                "{} records for all, {} found again, {} messages alike, {} records compared with own, {} different",
                decoding.shared_decoded,
                decoding.shared_found,
                decoding.shared_messages,
                decoding.compared,
                decoding.decode_differences
            ),
        )?;
        let late = ticks
            .late_ms
            .map_or_else(String::new, |late| format!(", late {}", figures(late, 0, "ms")));
        line(
            f,
            "ticks",
            format_args!(
                "{}, {} skipped, {} disordered{late}",
                ticks.told, ticks.skipped, ticks.disordered
            ),
        )
    }
}

fn line(f: &mut Formatter<'_>, name: &str, text: std::fmt::Arguments<'_>) -> Result {
    writeln!(f, "{name:>12}  {text}")
}

fn figures(percentiles: Percentiles, digits: usize, unit: &str) -> String {
    let Percentiles { p50, p99, max } = percentiles;
    format!("p50 {p50:.digits$}, p99 {p99:.digits$}, max {max:.digits$} {unit}")
}
