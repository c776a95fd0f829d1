//! `store`: taking the coordinators' store along to another one.
//!
//! The file is the export's messages, each behind its length as a varint; `store.proto` says what is in them. What is
//! whole and what fits is the coordinator's to judge: this only carries.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use futures_util::stream;
use interlock_proto::v1;
use interlock_proto::v1::store_chunk::Part;
use prost::Message as _;
use serde_json::json;

use crate::cli::{Connection, StoreCommand, StoreFile};
use crate::client::SHORT;
use crate::context;
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::render::Out;

/// The contract's deadline, and a little more.
const MOVING: Duration = Duration::from_secs(310);

pub(super) async fn run(connection: &Connection, command: StoreCommand, out: Out) -> Outcome {
    match command {
        StoreCommand::Export(args) => export(connection, &args, out).await,
        StoreCommand::Import(args) => import(connection, &args, out).await,
        StoreCommand::Adopt {
            incarnation,
            reason,
        } => adopt(connection, incarnation, reason, out).await,
    }
}

async fn export(connection: &Connection, args: &StoreFile, out: Out) -> Outcome {
    const DOING: &str = "export the store";
    let client = context::coordinators(connection)?.connect().await?;
    let mut stores = client.stores();
    let mut chunks = client
        .call(
            DOING,
            MOVING,
            stores.export_store(v1::ExportStoreRequest {}),
        )
        .await?;
    let mut bytes = Vec::new();
    let mut incarnation = String::new();
    let mut entries = None;
    while let Some(chunk) = chunks
        .message()
        .await
        .map_err(|status| client.failed(DOING, status))?
    {
        match &chunk.part {
            Some(Part::Header(header)) => incarnation.clone_from(&header.incarnation),
            Some(Part::End(end)) => entries = Some(end.entries),
            Some(Part::Entries(_)) | None => {}
        }
        bytes.extend(chunk.encode_length_delimited_to_vec());
    }
    let entries = entries.ok_or_else(|| anyhow!("the export was cut short: try again"))?;
    keep(&args.file, &bytes)?;
    let value = || json!({ "file": args.file, "entries": entries, "incarnation": incarnation });
    out.show(args.output.output, value, |_| {
        format!(
            "{}: {entries} entries of the store {incarnation}\n",
            args.file.display()
        )
    })?;
    Ok(Exit::Ok)
}

/// Writes the file for its owner only. One that is there stays: it may be the only export of something.
fn keep(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let written = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        });
    written
        .with_context(|| format!("cannot write {}", path.display()))
        .map_err(Failure::Other)
}

async fn import(connection: &Connection, args: &StoreFile, out: Out) -> Outcome {
    let chunks = read(&args.file)?;
    let client = context::coordinators(connection)?.connect().await?;
    let mut stores = client.stores();
    let imported = client
        .change(
            "import the store",
            "interlockctl events",
            MOVING,
            stores.import_store(stream::iter(chunks)),
        )
        .await?;
    let v1::ImportStoreResponse {
        entries,
        incarnation,
        from,
    } = imported;
    let value = || json!({ "entries": entries, "incarnation": incarnation, "from": from });
    out.show(args.output.output, value, |_| {
        format!("{entries} entries of the store {from} are in the store {incarnation}\n")
    })?;
    out.say("Its agents come by themselves. No coordinator may work on the first store any more.")?;
    Ok(Exit::Ok)
}

fn read(path: &Path) -> Result<Vec<v1::StoreChunk>, Failure> {
    let bytes = fs::read(path)
        .map_err(|error| Failure::Refused(format!("cannot read {}: {error}", path.display())))?;
    if bytes.is_empty() {
        let what = format!("{} is empty: it is no export of a store", path.display());
        return Err(Failure::Refused(what));
    }
    let mut rest = bytes.as_slice();
    let mut chunks = Vec::new();
    while !rest.is_empty() {
        let chunk = v1::StoreChunk::decode_length_delimited(&mut rest).map_err(|error| {
            Failure::Refused(format!(
                "{} is no export of a store, or is cut short: {error}",
                path.display()
            ))
        })?;
        chunks.push(chunk);
    }
    Ok(chunks)
}

async fn adopt(connection: &Connection, incarnation: String, reason: String, out: Out) -> Outcome {
    let client = context::coordinators(connection)?.connect().await?;
    let mut stores = client.stores();
    let request = v1::AdoptAgentsRequest {
        incarnation,
        reason,
    };
    client
        .change(
            "adopt agents",
            "interlockctl events",
            SHORT,
            stores.adopt_agents(request),
        )
        .await?;
    out.say("Agents of that store come by themselves.")?;
    Ok(Exit::Ok)
}
