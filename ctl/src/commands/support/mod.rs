//! `support bundle`: what somebody needs who shall help, in one file.
//!
//! | module | is |
//! |---|---|
//! | `public` | what may be in it: only what has a public form gets in |
//! | `doctor` | what is looked at from here: who answers, certificates, clocks, versions |
//! | `bundle` | the file |
//!
//! What cannot be had is in it as well, as a file that says why: a cluster of which a bundle is made is not well.

mod bundle;
mod doctor;
mod public;

use std::path::{Path, PathBuf};

use interlock_model::spec::Spec;
use interlock_proto::v1;
use serde_json::json;

use bundle::Bundle;
use public::{Missing, Plan, Public, Told};

use crate::cli::{Connection, Format, SupportBundle, SupportCommand, place};
use crate::client::{Client, SHORT};
use crate::context;
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::render::{Out, clean, now_millis, rfc3339};

/// How many of the last events: a week of a busy cluster.
const EVENTS: u32 = 1_000;

pub(super) async fn run(connection: &Connection, command: SupportCommand, out: Out) -> Outcome {
    match command {
        SupportCommand::Bundle(args) => bundle(connection, &args, out).await,
    }
}

async fn bundle(connection: &Connection, args: &SupportBundle, out: Out) -> Outcome {
    let (path, format) = place(&args.out, args.format).map_err(Failure::Usage)?;
    let coordinators = context::coordinators(connection)?;
    let path = path.map_or_else(
        || {
            let now = jiff::Zoned::now().strftime("%Y%m%d-%H%M%S");
            let cluster = coordinators.identity().cluster().clone();
            PathBuf::from(format!("{cluster}-support-{now}.tar.zst"))
        },
        Path::to_owned,
    );
    let mut bundle = Bundle::begin(&path)?;
    let about = json!({
        "made": rfc3339(now_millis()),
        "by": coordinators.identity().caller().to_string(),
        "interlockctl": env!("CARGO_PKG_VERSION"),
    });
    bundle.add("about", &Told(about))?;
    let mut missing = Vec::new();
    let status = match coordinators.connect().await {
        Ok(client) => Some(of_cluster(&client, args, &mut bundle, &mut missing).await?),
        Err(failure) => {
            missing.push(format!("everything of the cluster: {failure}"));
            None
        }
    };
    let found = doctor::examine(&coordinators, status.flatten().as_ref()).await;
    bundle.add("doctor", &found)?;
    bundle.add("missing", &Missing(missing.clone()))?;
    bundle.finish()?;
    let bad = found.bad();
    out.show(
        format,
        || json!({ "path": path, "not_well": bad, "missing": missing }),
        |_| format!("{}\n", path.display()),
    )?;
    if format == Format::Table {
        for finding in &bad {
            out.say(&clean(finding))?;
        }
        for why in &missing {
            out.say(&clean(&format!("not in it: {why}")))?;
        }
    }
    Ok(if missing.is_empty() {
        Exit::Ok
    } else {
        Exit::Incomplete
    })
}

/// What a coordinator tells. The status, if it does.
async fn of_cluster(
    client: &Client,
    args: &SupportBundle,
    bundle: &mut Bundle,
    missing: &mut Vec<String>,
) -> Result<Option<v1::Status>, Failure> {
    let mut or_missing = |what: &str, failure: &Failure| missing.push(format!("{what}: {failure}"));
    let status = match super::status::get(client).await {
        Ok(status) => {
            bundle.add("status", &status)?;
            for node in &status.nodes {
                bundle.add(&format!("nodes/{}", node.node), node)?;
            }
            Some(status)
        }
        Err(failure) => {
            or_missing("status", &failure);
            None
        }
    };
    match spec(client).await {
        Ok(spec) => bundle.add("spec", &spec)?,
        Err(failure) => or_missing("spec", &failure),
    }
    match events(client).await {
        Ok(events) => bundle.add("events", &events)?,
        Err(failure) => or_missing("events", &failure),
    }
    match operations(client, args.operations).await {
        Ok(summaries) => {
            for summary in summaries {
                let name = &summary.operation;
                match operation(client, name, bundle).await {
                    Ok(()) => {}
                    Err(failure @ Failure::Rpc(_)) => or_missing(name, &failure),
                    Err(other) => return Err(other),
                }
            }
        }
        Err(failure) => or_missing("operations", &failure),
    }
    Ok(status)
}

/// The spec as it is understood. Its text is not asked for more than that: comments may say anything.
async fn spec(client: &Client) -> Result<Spec, Failure> {
    let mut cluster = client.cluster();
    let request = v1::GetSpecRequest { generation: 0 };
    let applied = client
        .call("show the spec", SHORT, cluster.get_spec(request))
        .await?;
    Spec::parse(&applied.source, "the applied spec")
        .map(|parsed| parsed.spec)
        .map_err(|_| Failure::Refused("the applied spec is not one of this version".to_owned()))
}

async fn events(client: &Client) -> Result<Vec<v1::Event>, Failure> {
    let request = v1::ListEventsRequest {
        after: 0,
        limit: EVENTS,
        tail: true,
    };
    let mut events = client.events();
    Ok(client
        .call("list events", SHORT, events.list_events(request))
        .await?
        .events)
}

async fn operations(client: &Client, limit: u32) -> Result<Vec<v1::OperationSummary>, Failure> {
    if limit == 0 {
        return Ok(Vec::new());
    }
    let request = v1::ListOperationsRequest {
        limit,
        before: String::new(),
    };
    let mut operations = client.operations();
    let listed = client
        .call(
            "list operations",
            SHORT,
            operations.list_operations(request),
        )
        .await?;
    Ok(listed.operations)
}

async fn operation(client: &Client, name: &str, bundle: &mut Bundle) -> Result<(), Failure> {
    let request = v1::GetOperationRequest {
        operation: name.to_owned(),
        brief: false,
    };
    let mut operations = client.operations();
    let operation = client
        .call(
            "show the operation",
            SHORT,
            operations.get_operation(request),
        )
        .await?;
    bundle.add(&format!("operations/{name}/operation"), &operation)?;
    bundle.add(&format!("operations/{name}/plan"), &Plan::of(&operation))?;
    bundle.add(
        &format!("operations/{name}/journal"),
        &client.journal(name).await?,
    )
}
