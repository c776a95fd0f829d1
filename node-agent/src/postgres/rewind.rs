//! Making the data of a server that has diverged those of another one, by copying what differs (pg_rewind(1)).
//!
//! # Traps
//! * A server that was killed has to recover first. It does so on its own, which it refuses as a standby: there must be no signal file
//!   yet. It would then also start as the primary that it was, for whoever starts it. So it leaves its place before
//!   (`layout`).
//! * pg_rewind that was interrupted cannot be repeated: it has overwritten parts of the log that tells what has to be copied.
//!   Everything that can be tried without writing is tried before: the recovery, and a `--dry-run`.
//! * It reads the upstream's timeline from the control file, which has the old one after a promotion until the next checkpoint. It then
//!   finds two servers on one timeline, **rewinds nothing and says that all is well** (until version 15). So the checkpoint is
//!   asked for, and *nothing to do* is not believed of a server that has diverged.
//! * It knows timelines by their numbers alone. Of two that have one number it takes the one for the other, and leaves what was
//!   written on the wrong one where it is. So where the marks tell more ([`History`](super::History)), it is not asked.
//! * It copies configuration files as well, those of another machine.

use std::path::Path;
use std::time::Duration;

use super::cluster::Site;
use super::deadline::Deadline;
use super::tool::{Said, argument};
use super::{Divergence, Standing, Trouble, Upstream, compare, follow, holders};

/// The time to put a directory back when the operation's own is over.
const PUT_BACK: Duration = Duration::from_secs(10);

/// What pg_rewind says when it finds both on one timeline, or the target behind the source.
const NOTHING: &str = "no rewind required";

/// Rewinds a stopped server that is in its place.
pub(super) async fn rewind(
    site: &Site,
    upstream: &Upstream,
    deadline: Deadline,
) -> Result<(), Trouble> {
    let control = compare::control(site, &site.layout.data, deadline).await?;
    if !control.rewindable {
        let why = "it has neither wal_log_hints = on nor data checksums";
        return Err(Trouble::NotRewindable(why.to_owned()));
    }
    let (theirs, _) = compare::theirs(site, upstream, deadline).await?;
    if theirs.system != control.system {
        return Err(Trouble::AnotherSystem {
            server: format!("{}:{}", upstream.host, upstream.port),
            theirs: theirs.system,
            own: control.system,
        });
    }
    let own = compare::stopped(site, &site.layout.data, deadline).await?;
    if !own.is_told_apart_by_number(&theirs) {
        let why = "both servers have begun a timeline of the same number, and pg_rewind would take the one for the other";
        return Err(Trouble::NotRewindable(why.to_owned()));
    }
    let (timeline, clean) = (theirs.history.timeline(), control.is_clean());
    compare::wait_for_control_file(site, upstream, timeline, deadline).await?;
    let layout = site.layout.clone();
    let recovering = site.blocking(deadline, move || {
        layout.make_beside()?;
        layout.keep_local()?;
        // A person has put something in the place of what was half rewound.
        super::files::remove_dir(&layout.rewinding())?;
        let recovering = layout.take()?;
        // Whoever was started a moment ago works there still, and can be left alone where it belongs.
        let held = holders::need_none(&layout.places(), layout.owner);
        held.and_then(|()| layout.without_signals(&recovering))
            .inspect_err(|_| drop(layout.put_back()))?;
        Ok(recovering)
    });
    let recovering = recovering.await?;
    let tried = attempt(site, upstream, &theirs, &recovering, clean, deadline).await;
    if let Err(trouble) = tried {
        let layout = site.layout.clone();
        let back = site.blocking(Deadline::new(PUT_BACK), move || layout.put_back());
        if let Err(error) = back.await {
            tracing::warn!(%error, "the data directory is not back in its place yet: the next operation brings it there");
        }
        return Err(trouble);
    }
    let layout = site.layout.clone();
    let rewinding = site.blocking(deadline, move || {
        super::files::rename(&layout.recovering(), &layout.rewinding())?;
        Ok(layout.rewinding())
    });
    let rewinding = rewinding.await?;
    let said = pg_rewind(site, upstream, &rewinding, &[], deadline).await?;
    if !said.success {
        return Err(Trouble::RewindBroke(said.why()));
    }
    let (layout, settings) = (site.layout.clone(), follow::settings(site, Some(upstream)));
    let complete = site.blocking(deadline, move || {
        layout.restore_local(&rewinding)?;
        follow::write_into(&layout, &rewinding, &settings)?;
        layout.complete(&rewinding)
    });
    complete.await
}

/// Everything that can fail without harm.
async fn attempt(
    site: &Site,
    upstream: &Upstream,
    theirs: &Standing,
    dir: &Path,
    clean: bool,
    deadline: Deadline,
) -> Result<(), Trouble> {
    if !clean {
        let mut arguments = vec!["--single".to_owned()];
        arguments.extend(site.server_arguments(dir));
        arguments.push("template1".to_owned());
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        site.tools
            .run("postgres", &arguments, deadline)
            .await?
            .done()?;
    }
    let said = pg_rewind(site, upstream, dir, &["--dry-run"], deadline).await?;
    if !said.success {
        return Err(Trouble::NotRewindable(said.why()));
    }
    if said.stdout.contains(NOTHING) || said.stderr.contains(NOTHING) {
        let own = compare::stopped(site, dir, deadline).await?;
        if let Divergence::Diverged(fork) = Divergence::between(&own, theirs) {
            let why = format!(
                "pg_rewind finds nothing to do, but {} bytes from {} on are of no other server",
                fork.bytes(),
                fork.at
            );
            return Err(Trouble::NotRewindable(why));
        }
    }
    Ok(())
}

async fn pg_rewind(
    site: &Site,
    upstream: &Upstream,
    dir: &Path,
    more: &[&str],
    deadline: Deadline,
) -> Result<Said, Trouble> {
    let source = upstream.for_tool(&site.node, &site.config.database);
    let source = format!("--source-server={source}");
    let target = format!("--target-pgdata={}", argument(dir));
    // It has been recovered already, with the right configuration.
    let mut arguments = vec![source.as_str(), &target, "--no-ensure-shutdown"];
    arguments.extend(more);
    site.tools.run("pg_rewind", &arguments, deadline).await
}
