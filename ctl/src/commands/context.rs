//! `context`: which cluster is meant, and as whom. Needs no cluster.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::json;

use crate::cli::{Connection, ContextAdd, ContextCommand};
use crate::context::{Config, Context, config_path, endpoints, files_in};
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::render::{Out, Table, Tone};

pub(super) fn run(connection: &Connection, command: ContextCommand, out: Out) -> Outcome {
    match command {
        ContextCommand::List(output) => {
            let config = Config::load()?;
            let value = || {
                let entries = config.contexts.iter();
                let one = |(name, context): (&String, &Context)| json!({"name": name, "current": is_current(&config, name), "endpoints": context.endpoints});
                entries.map(one).collect()
            };
            out.show(output.output, value, |paint| {
                let mut table = Table::new(["", "name", "endpoints"]);
                for (name, context) in &config.contexts {
                    let star = if is_current(&config, name) { "*" } else { " " };
                    table.row([
                        (star.to_owned(), Tone::Good),
                        (name.clone(), Tone::Plain),
                        (context.endpoints.join(", "), Tone::Plain),
                    ]);
                }
                table.render(paint)
            })?;
        }
        ContextCommand::Use { name } => {
            let mut config = Config::load()?;
            config.get(&name)?;
            config.current = Some(name.clone());
            config.save()?;
            out.say(&format!("{name} is now the current context"))?;
        }
        ContextCommand::Add(args) => add(connection, args, out)?,
        ContextCommand::Show { name, output } => {
            let config = Config::load()?;
            let name = name
                .or_else(|| connection.context.clone())
                .or_else(|| config.current.clone())
                .ok_or_else(|| {
                    Failure::Usage(
                        "there is no current context: name one, or `interlockctl context use NAME`"
                            .to_owned(),
                    )
                })?;
            let context = config.get(&name)?;
            let file = config_path()?;
            let value = || {
                json!({"name": name, "current": is_current(&config, &name), "endpoints": context.endpoints,
                    "ca": context.ca, "cert": context.cert, "key": context.key, "file": file})
            };
            out.show(output.output, value, |_| {
                format!(
                    "name       {name}\nendpoints  {}\nca         {}\ncert       {}\nkey        {}\nfile       {}\n",
                    context.endpoints.join(", "),
                    context.ca.display(),
                    context.cert.display(),
                    context.key.display(),
                    file.display()
                )
            })?;
        }
        ContextCommand::Remove { name } => {
            let mut config = Config::load()?;
            config.get(&name)?;
            config.contexts.remove(&name);
            config.current = config.current.filter(|current| *current != name);
            config.save()?;
            out.say(&format!("{name} is removed; its certificate files stay"))?;
        }
    }
    Ok(Exit::Ok)
}

fn is_current(config: &Config, name: &str) -> bool {
    config.current.as_deref() == Some(name)
}

fn add(connection: &Connection, args: ContextAdd, out: Out) -> Result<(), Failure> {
    if connection.endpoint.is_empty() {
        return Err(Failure::Usage(
            "where are the coordinators? Say --endpoint HOST[:PORT], several with commas"
                .to_owned(),
        ));
    }
    endpoints(&connection.endpoint)?;
    let (ca, cert, key) = match (args.ca, args.cert, args.key, &connection.tls_dir) {
        (Some(ca), Some(cert), Some(key), _) => (ca, cert, key),
        (_, _, _, Some(dir)) => {
            let files = files_in(dir)?;
            (files.authority, files.certificate, files.key)
        }
        _ => {
            return Err(Failure::Usage(
                "which certificate? Say --tls-dir DIR, as `interlockctl pki issue operator` leaves it, or --ca, --cert \
                 and --key"
                    .to_owned(),
            ));
        }
    };
    let mut config = Config::load()?;
    config.contexts.insert(
        args.name.clone(),
        Context {
            endpoints: connection.endpoint.clone(),
            ca: absolute(&ca)?,
            cert: absolute(&cert)?,
            key: absolute(&key)?,
        },
    );
    if args.make_current || config.current.is_none() {
        config.current = Some(args.name.clone());
    }
    let current = is_current(&config, &args.name);
    let path = config.save()?;
    let hint = if current {
        "it is the current one".to_owned()
    } else {
        format!(
            "`interlockctl context use {}` makes it the current one",
            args.name
        )
    };
    out.say(&format!(
        "context {} is in {}; {hint}",
        args.name,
        path.display()
    ))
}

/// Contexts are used from any directory.
fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    let resolved = std::path::absolute(path)
        .with_context(|| format!("cannot tell where {} is", path.display()))?;
    Ok(resolved)
}
