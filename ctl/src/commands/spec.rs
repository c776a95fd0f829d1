//! `spec`: check, apply, show and compare cluster specs.

use std::fs;
use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};

use interlock_model::spec::{MAX_BYTES, Parsed, Problems, Spec, diff, schema};
use interlock_proto::v1;
use serde_json::json;

use super::{spec_agent_config, spec_agent_file, status};
use crate::cli::{Connection, Format, SpecApply, SpecCommand};
use crate::client::{Client, SHORT};
use crate::context;
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::render::{Out, Paint, Tone, clean, counted, date_time, rfc3339};

/// What an applying call is for.
const APPLYING: &str = "apply the spec";

pub(super) async fn run(connection: &Connection, command: SpecCommand, out: Out) -> Outcome {
    match command {
        SpecCommand::Check {
            file,
            agent_config,
            output,
        } => check(&file, &agent_config, output.output, out),
        SpecCommand::Apply(args) => apply(connection, args, out).await,
        SpecCommand::Show { generation, output } => {
            let client = context::coordinators(connection)?.connect().await?;
            let found = fetch(&client, generation.unwrap_or(0)).await?;
            show(&found, output.output, out)
        }
        SpecCommand::Diff { file, output } => {
            let (source, new) = read(&file)?;
            let client = context::coordinators(connection)?.connect().await?;
            let applied = fetch(&client, 0).await?;
            let old = parse_applied(&applied)?;
            let changes = diff(&old.spec, &new.spec);
            let value = || json!({"generation": applied.generation, "changes": json!(changes)});
            out.show(output.output, value, |paint| {
                changes
                    .iter()
                    .map(|change| change_line(&change.to_string(), paint))
                    .collect()
            })?;
            if changes.is_empty() {
                out.say(&format!(
                    "no difference to generation {}",
                    applied.generation
                ))?;
            } else {
                let base = applied.generation;
                tell_let_go(&let_go_by(&client, &file, source, base).await, out)?;
            }
            Ok(Exit::Ok)
        }
        SpecCommand::Schema => {
            out.json(&schema())?;
            Ok(Exit::Ok)
        }
        SpecCommand::AgentConfig { node, file } => {
            let (spec, origin) = match file {
                Some(file) => (read(&file)?.1.spec, file.display().to_string()),
                None => {
                    let client = context::coordinators(connection)?.connect().await?;
                    let applied = fetch(&client, 0).await?;
                    let origin = format!("generation {}", applied.generation);
                    (parse_applied(&applied)?.spec, origin)
                }
            };
            out.data(&spec_agent_config::render(&spec, &node, &origin)?)?;
            Ok(Exit::Ok)
        }
    }
}

/// Reads a spec file, and tells its warnings to nobody.
pub(super) fn read(file: &Path) -> Result<(Vec<u8>, Parsed), Failure> {
    let bytes = bytes(file)?;
    match Spec::parse(&bytes, &name(file)) {
        Ok(parsed) => Ok((bytes, parsed)),
        Err(problems) => Err(Failure::Invalid(problems.render(&bytes))),
    }
}

fn name(file: &Path) -> String {
    if file == Path::new("-") {
        "standard input".to_owned()
    } else {
        file.display().to_string()
    }
}

/// The bytes of a file, or of standard input; not more than the reader would accept, and one more for it to say so.
fn bytes(file: &Path) -> Result<Vec<u8>, Failure> {
    let most = u64::try_from(MAX_BYTES)
        .unwrap_or(u64::MAX)
        .saturating_add(1);
    let mut bytes = Vec::new();
    let result = if file == Path::new("-") {
        io::stdin().lock().take(most).read_to_end(&mut bytes)
    } else {
        fs::File::open(file).and_then(|opened| opened.take(most).read_to_end(&mut bytes))
    };
    match result {
        Ok(_) => Ok(bytes),
        Err(error) => Err(Failure::Refused(format!(
            "cannot read the spec {}: {error}",
            name(file)
        ))),
    }
}

fn check(file: &Path, agents: &[PathBuf], format: Format, out: Out) -> Outcome {
    let bytes = bytes(file)?;
    let (problems, spec) = match Spec::parse(&bytes, &name(file)) {
        Ok(parsed) => (
            Problems::new(&name(file), parsed.warnings),
            Some(parsed.spec),
        ),
        Err(problems) => (problems, None),
    };
    if !problems.problems.is_empty() {
        out.say(problems.render(&bytes).trim_end())?;
    }
    let mut of_agents = Vec::new();
    // What a file fits is not known of a spec that cannot be used.
    for (spec, agent) in spec
        .iter()
        .flat_map(|spec| agents.iter().map(move |it| (spec, it)))
    {
        let (found, text) = spec_agent_file::check(spec, agent)?;
        if !found.problems.is_empty() {
            out.say(found.render(text.as_bytes()).trim_end())?;
        }
        of_agents.push(found);
    }
    let value = || {
        let mut value = problems.to_json();
        value["valid"] = json!(spec.is_some());
        value["agent_configs"] = of_agents.iter().map(Problems::to_json).collect();
        value
    };
    let all = of_agents.iter().chain([&problems]);
    let warnings: usize = all.map(|it| it.problems.len()).sum();
    out.show(format, value, |_| match &spec {
        Some(spec) => format!(
            "{}: cluster {}, {}, {}: valid{}\n",
            name(file),
            spec.cluster,
            counted(spec.nodes.len(), "node"),
            counted(spec.services.len(), "service"),
            match warnings {
                0 => String::new(),
                count => format!(", {}", counted(count, "warning")),
            }
        ),
        None => String::new(),
    })?;
    Ok(if spec.is_some() {
        Exit::Ok
    } else {
        Exit::Refused
    })
}

/// The applied spec, or that of an older generation.
async fn fetch(client: &Client, generation: u64) -> Result<v1::GetSpecResponse, Failure> {
    let request = v1::GetSpecRequest { generation };
    Ok(client
        .call("read the spec", SHORT, client.cluster().get_spec(request))
        .await?)
}

/// What the applied spec says.
pub(super) async fn applied(client: &Client) -> Result<Spec, Failure> {
    Ok(parse_applied(&fetch(client, 0).await?)?.spec)
}

fn parse_applied(applied: &v1::GetSpecResponse) -> Result<Parsed, Failure> {
    let name = format!("generation {}", applied.generation);
    Spec::parse(&applied.source, &name)
        .map_err(|problems| Failure::Invalid(problems.render(&applied.source)))
}

fn show(found: &v1::GetSpecResponse, format: Format, out: Out) -> Outcome {
    let source = String::from_utf8_lossy(&found.source);
    if format == Format::Table {
        out.say(&format!(
            "generation {}, applied {} by {}",
            found.generation,
            date_time(found.applied_ms),
            clean(&found.applied_by)
        ))?;
    }
    let value = || {
        json!({
            "generation": found.generation,
            "applied_by": found.applied_by,
            "applied": rfc3339(found.applied_ms),
            "source": source,
        })
    };
    out.show(format, value, |_| source.clone().into_owned())?;
    Ok(Exit::Ok)
}

async fn apply(connection: &Connection, args: SpecApply, out: Out) -> Outcome {
    let (source, parsed) = read(&args.file)?;
    let warnings = Problems::new(&name(&args.file), parsed.warnings);
    if !warnings.problems.is_empty() {
        out.say(warnings.render(&source).trim_end())?;
    }
    let client = context::coordinators(connection)?.connect().await?;
    let mut request = v1::ApplySpecRequest {
        source,
        base: args.base.unwrap_or(0),
        file_name: name(&args.file),
        dry_run: args.dry_run,
        reason: args.reason.clone(),
    };
    if args.base.is_none() {
        request.base = current(&client).await?;
    }
    if !args.yes && !args.dry_run {
        confirm(&client, &request, out).await?;
    }
    let base = request.base;
    let applied = send(&client, APPLYING, request).await?;
    let value = || {
        json!({
            "generation": applied.generation,
            "base": base,
            "dry_run": args.dry_run,
            "unchanged": applied.unchanged,
            "changes": applied.changes,
            "warnings": applied.warnings,
            "let_go": applied.let_go,
            "held": applied.held,
        })
    };
    out.show(args.output.output, value, |paint| {
        change_lines(&applied.changes, paint)
    })?;
    if args.yes || args.dry_run {
        tell_let_go(&applied.let_go, out)?;
    }
    for held in &applied.held {
        out.say(&format!(
            "warning: {}: this can be applied when it is over",
            clean(held)
        ))?;
    }
    out.say(&if applied.unchanged {
        format!("no difference to generation {base}: nothing was applied")
    } else if args.dry_run {
        format!("dry run: nothing was applied, the generation is still {base}")
    } else {
        format!(
            "generation {} is applied; nothing was started or stopped",
            applied.generation
        )
    })?;
    Ok(Exit::Ok)
}

/// The generation that is applied now. If it changes before the next call, the coordinator refuses.
async fn current(client: &Client) -> Result<u64, Failure> {
    Ok(status::get(client).await?.generation)
}

async fn send(
    client: &Client,
    doing: &str,
    request: v1::ApplySpecRequest,
) -> Result<v1::ApplySpecResponse, Failure> {
    let mut cluster = client.cluster();
    let dry_run = request.dry_run;
    let call = cluster.apply_spec(request);
    Ok(match dry_run {
        true => client.call(doing, SHORT, call).await?,
        false => {
            let look = "interlockctl spec show";
            client.change(doing, look, SHORT, call).await?
        }
    })
}

/// Shows what would change, and asks; not about the file that is applied already.
async fn confirm(client: &Client, request: &v1::ApplySpecRequest, out: Out) -> Result<(), Failure> {
    let dry = v1::ApplySpecRequest {
        dry_run: true,
        ..request.clone()
    };
    let found = send(client, APPLYING, dry).await?;
    if found.unchanged {
        return Ok(());
    }
    if let Some(held) = found.held.first() {
        return Err(Failure::Refused(format!(
            "cannot {APPLYING}: {}: a spec is applied only while no operation runs. Nothing was applied",
            clean(held)
        )));
    }
    if found.changes.is_empty() {
        out.say("this changes nothing but the text of the file")?;
    }
    out.say(change_lines(&found.changes, out.talk_paint()).trim_end())?;
    tell_let_go(&found.let_go, out)?;
    if !io::stdin().is_terminal() {
        return Err(Failure::Refused(
            "nobody can be asked, since standard input is no terminal: say --yes to apply this. Nothing was applied"
                .to_owned(),
        ));
    }
    let question = match request.base {
        0 => "Apply this as the first generation? [y/N] ".to_owned(),
        base => format!("Apply this over generation {base}? [y/N] "),
    };
    let answer = out.ask(&question)?;
    if matches!(answer.as_str(), "y" | "Y" | "yes") {
        Ok(())
    } else {
        Err(Failure::Refused(
            "not confirmed: nothing was applied".to_owned(),
        ))
    }
}

/// Warns of what goes on running and is nobody's from then on.
fn tell_let_go(let_go: &[String], out: Out) -> Result<(), Failure> {
    for line in let_go {
        out.say(&format!("warning: {}", clean(line)))?;
    }
    Ok(())
}

/// The same of a file that is only compared. Whoever may not apply it is not told; nobody else knows what runs.
async fn let_go_by(client: &Client, file: &Path, source: Vec<u8>, base: u64) -> Vec<String> {
    let request = v1::ApplySpecRequest {
        source,
        base,
        file_name: name(file),
        dry_run: true,
        reason: String::new(),
    };
    let telling = "tell what goes on running and is nobody's then";
    match send(client, telling, request).await {
        Ok(found) => found.let_go,
        Err(why) => vec![why.to_string()],
    }
}

fn change_lines(changes: &[String], paint: Paint) -> String {
    changes
        .iter()
        .map(|change| change_line(change, paint))
        .collect()
}

/// A change with its colour: what comes, what goes, what differs.
fn change_line(change: &str, paint: Paint) -> String {
    let tone = match change.chars().next() {
        Some('+') => Tone::Good,
        Some('-') => Tone::Bad,
        Some('~') => Tone::Doubt,
        _ => Tone::Plain,
    };
    format!("{}\n", paint.tone(tone, &clean(change)))
}
