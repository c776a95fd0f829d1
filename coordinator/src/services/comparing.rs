//! What files say now that a plan would change: agents are asked, before the plan is made and again before it is started.
//!
//! They are not asked under the turn of who plans, and for a few seconds only: of who has not answered by then it is not known, and
//! its instance is restarted.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use interlock_model::file::Untold;
use interlock_planner::Rendering;
use tonic::Status;

use crate::clock;
use crate::driver::Handle;

/// How long agents have. A comparison reads one file and starts nothing; one of an earlier version never answers.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often it is looked for answers.
const LOOK: Duration = Duration::from_millis(10);

/// The rendering with what the agents say of the files that it is for; itself if it writes none.
///
/// # Errors
/// If this process is stopping.
pub(super) async fn compared(
    driver: &Handle,
    rendering: Arc<Rendering>,
) -> Result<Arc<Rendering>, Status> {
    if !rendering.has_texts() {
        return Ok(rendering);
    }
    let texts = Arc::clone(&rendering);
    let asked = driver
        .call(move |desk| {
            let now = clock::now();
            let ask = |(node, what)| {
                let ask = desk.coordinator.compare_file(node, what, now);
                (node.clone(), ask)
            };
            texts.texts().map(ask).collect::<BTreeMap<_, _>>()
        })
        .await?;
    let give_up = tokio::time::Instant::now() + PATIENCE;
    loop {
        let open: Vec<u64> = asked.values().filter_map(|ask| *ask).collect();
        let waits = driver
            .call(move |desk| open.iter().any(|ask| desk.coordinator.is_comparing(*ask)))
            .await?;
        if waits {
            driver.can_write()?;
        }
        if !waits || tokio::time::Instant::now() >= give_up {
            break;
        }
        tokio::time::sleep(LOOK).await;
    }
    let found = driver
        .call(move |desk| {
            let mut answer = |ask| match ask {
                None => Err(Untold::Unknown("its agent is not heard".to_owned())),
                Some(ask) => desk.coordinator.take_comparison(ask).unwrap_or_else(|| {
                    let what = format!("its agent has not answered within {PATIENCE:?}");
                    Err(Untold::Unknown(format!(
                        "{what}, or is of an earlier version"
                    )))
                }),
            };
            let found = asked.into_iter().map(|(node, ask)| (node, answer(ask)));
            found.collect()
        })
        .await?;
    Ok(Arc::new(rendering.with_found(found)))
}
