//! The status on a terminal, drawn over and over.
//!
//! A coordinator sends its status every few seconds, changed or not. When none comes the last one stays, for it is better
//! than nothing, under a line that says how old it is and why.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use interlock_proto::v1;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::client::{Client, Coordinators, keep_watching};
use crate::failure::{Failure, Outcome};
use crate::render::{Out, Paint, Tone, age, clean, clock_time, fit, status_text};

/// A coordinator that is there sends a status every 2.5 seconds at the latest; twice that is silence.
const STILL: Duration = Duration::from_secs(5);

/// How often the age of an old picture is drawn anew.
const TICK: Duration = Duration::from_secs(1);

/// What is shown.
#[derive(Debug)]
struct Picture {
    status: Option<v1::Status>,
    heard: Instant,
    /// That the connection is gone, and why, while it is.
    lost: Option<String>,
}

/// Shows the status until Ctrl-C.
pub(super) async fn show(coordinators: &Coordinators, client: Client, out: Out) -> Outcome {
    let (seen, pictures) = watch::channel(Picture {
        status: None,
        heard: Instant::now(),
        lost: None,
    });
    let lost = |why: &str| {
        seen.send_modify(|picture| picture.lost = Some(why.to_owned()));
        Ok(())
    };
    let watching = async |client: &Client| {
        super::watch(client, |status| {
            seen.send_modify(|picture| {
                *picture = Picture {
                    status: Some(status),
                    heard: Instant::now(),
                    lost: None,
                };
            });
            Ok(())
        })
        .await
    };
    tokio::select! {
        ended = keep_watching(coordinators, client, lost, watching) => ended,
        Err(failure) = draw(pictures, out) => Err(failure),
    }
}

/// Draws each picture, and an old one again and again for its age. Ends only with a failure.
async fn draw(mut pictures: watch::Receiver<Picture>, out: Out) -> Result<(), Failure> {
    let mut resized = signal(SignalKind::window_change())
        .context("cannot listen for changes of the terminal's size")?;
    let mut tick = tokio::time::interval(TICK);
    let mut last = String::new();
    loop {
        tokio::select! {
            changed = pictures.changed() => if changed.is_err() {
                // The watch has ended, and tells why.
                return std::future::pending().await;
            },
            Some(()) = resized.recv() => last.clear(),
            _ = tick.tick() => {}
        }
        let text = text(&pictures.borrow_and_update(), Instant::now(), out.paint());
        if text != last {
            // The line's own end is the last: one more would scroll the first line away.
            let fitting = fit(&text, out.paint());
            out.line(&format!("\u{1b}[H\u{1b}[J{}", fitting.trim_end()))?;
            last = text;
        }
    }
}

/// The picture; empty if nothing was ever seen.
fn text(picture: &Picture, now: Instant, paint: Paint) -> String {
    let Some(status) = &picture.status else {
        return picture.lost.as_deref().map(clean).unwrap_or_default();
    };
    let shown = status_text(status, paint);
    let quiet = now.saturating_duration_since(picture.heard);
    if picture.lost.is_none() && quiet <= STILL {
        return shown;
    }
    let mut old = format!(
        "no news from the coordinator for {}: this is how it was at {}\n",
        age(u64::try_from(quiet.as_millis()).ok()),
        clock_time(status.at_ms)
    );
    if let Some(why) = &picture.lost {
        old.push_str(&format!("{}\n", clean(why)));
    }
    format!("{}{shown}", paint.tone(Tone::Bad, &old))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_picture_says_how_old_it_is_and_why() {
        let heard = Instant::now();
        let mut picture = Picture {
            status: Some(v1::Status {
                cluster: "shop".into(),
                generation: 1,
                at_ms: 1_700_000_000_000,
                ..Default::default()
            }),
            heard,
            lost: None,
        };
        let after = |picture: &Picture, seconds| {
            text(
                picture,
                heard + Duration::from_secs(seconds),
                Paint::new(false),
            )
        };
        assert!(after(&picture, 3).starts_with("shop generation 1"));
        let old = after(&picture, 7);
        let at = clock_time(1_700_000_000_000);
        assert!(
            old.starts_with(&format!(
                "no news from the coordinator for 7s: this is how it was at {at}\nshop generation 1"
            )),
            "{old}"
        );
        picture.lost = Some("connection lost (it went away); connecting again ...".into());
        let lost = after(&picture, 2);
        assert!(
            lost.starts_with("no news from the coordinator for 2s")
                && lost.contains("\nconnection lost (it went away); connecting again ...\nshop"),
            "{lost}"
        );
    }
}
