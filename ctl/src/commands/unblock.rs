//! `unblock`: something fails over by itself again.

use interlock_proto::v1;

use crate::cli::{Connection, Unblock};
use crate::client::SHORT;
use crate::context;
use crate::exit::Exit;
use crate::failure::Outcome;
use crate::render::{Out, block_value, blocks_table};

pub(super) async fn run(connection: &Connection, args: Unblock, out: Out) -> Outcome {
    let client = context::coordinators(connection)?.connect().await?;
    let mut cluster = client.cluster();
    let service = args.service.filter(|_| !args.all);
    let request = v1::UnblockFailoverRequest {
        service: service.map(|it| it.to_string()).unwrap_or_default(),
        reason: args.reason,
    };
    let call = cluster.unblock_failover(request);
    let response = client
        .change("unblock failover", "interlockctl status", SHORT, call)
        .await?;
    out.say("ended:")?;
    out.show(
        args.output.output,
        || response.ended.iter().map(block_value).collect(),
        |paint| blocks_table(&response.ended, paint),
    )?;
    Ok(Exit::Ok)
}
