//! Making a new copy of another server (pg_basebackup(1)).
//!
//! The copy is made beside what is there, so that a copy that fails takes nothing away: until it is complete both need room.

use super::cluster::Site;
use super::deadline::Deadline;
use super::layout::Place;
use super::tool::argument;
use super::{Trouble, Upstream, compare, files, follow};

/// Replaces what is in the place of the data directory by a copy of the upstream.
pub(super) async fn clone(
    site: &Site,
    place: Place,
    upstream: &Upstream,
    deadline: Deadline,
) -> Result<(), Trouble> {
    if place == Place::Data {
        need_same_system(site, upstream, deadline).await?;
    }
    let layout = site.layout.clone();
    let prepare = site.blocking(deadline, move || {
        layout.make_beside()?;
        if place == Place::Data {
            layout.need_one_piece()?;
            layout.make_standby(&layout.data)?;
            layout.keep_local()?;
        }
        files::remove_dir(&layout.cloning())?;
        Ok(layout.cloning())
    });
    let cloning = prepare.await?;
    let source = upstream.for_tool(&site.node, &site.config.database);
    let target = argument(&cloning);
    let mut arguments = vec![
        "--dbname",
        &source,
        "--pgdata",
        &target,
        "--wal-method=stream",
        "--checkpoint=fast",
        "--no-password",
    ];
    if let Some(slot) = &upstream.slot {
        arguments.extend(["--slot", slot.as_str()]);
    }
    site.tools
        .run("pg_basebackup", &arguments, deadline)
        .await?
        .done()?;
    let (layout, settings) = (site.layout.clone(), follow::settings(site, Some(upstream)));
    let complete = site.blocking(deadline, move || {
        layout.restore_local(&cloning)?;
        follow::write_into(&layout, &cloning, &settings)?;
        layout.complete(&cloning)
    });
    complete.await
}

/// What is there may only be replaced by a copy of the same.
async fn need_same_system(
    site: &Site,
    upstream: &Upstream,
    deadline: Deadline,
) -> Result<(), Trouble> {
    let own = match compare::control(site, &site.layout.data, deadline).await {
        Ok(control) => control.system,
        // What cannot be read is a reason to replace it.
        Err(Trouble::Control(_) | Trouble::Tool { .. }) => return Ok(()),
        Err(trouble) => return Err(trouble),
    };
    let (theirs, _) = compare::theirs(site, upstream, deadline).await?;
    let theirs = theirs.system;
    if own == theirs {
        return Ok(());
    }
    Err(Trouble::AnotherSystem {
        server: format!("{}:{}", upstream.host, upstream.port),
        theirs,
        own,
    })
}
