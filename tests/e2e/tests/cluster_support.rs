//! What somebody gets who shall help.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use interlock_e2e::local::{Cluster, Layout, shop};
use interlock_mesh::identity::Role;
use serde_json::Value;

/// Everything in a bundle, by its path.
fn unpacked(path: &Path) -> Result<BTreeMap<String, String>> {
    let mut all = BTreeMap::new();
    let mut tar = tar::Archive::new(zstd::Decoder::new(File::open(path)?)?);
    for entry in tar.entries()? {
        let mut entry = entry?;
        let name = entry.path()?.display().to_string();
        let mut text = String::new();
        entry.read_to_string(&mut text)?;
        all.insert(name, text);
    }
    Ok(all)
}

#[test]
fn a_bundle_has_what_happened_and_no_secret() -> Result<()> {
    let shop = shop::layout();
    let power = "power:\n  kvm1: { fence: fence_virsh, via: [store1], options: { ip: NET.1, identity_file: hunter2 } }\nservices:";
    let spec = shop.spec.replacen("services:", power, 1) + "\n# hunter2\n";
    let mut cluster = Cluster::start(&Layout {
        spec: &spec,
        machines: shop.machines,
    })?;
    cluster.admin()?.run(&shop::startup())?;
    let bundle = |name: &str| -> Result<_> {
        let path = cluster.path(name);
        let told = cluster.ctl(
            "rita",
            Role::Reader,
            &["support", "bundle", "--out", &path.display().to_string()],
        )?;
        Ok((
            path,
            told.status.code(),
            String::from_utf8_lossy(&told.stderr).into_owned(),
        ))
    };
    let (path, code, talk) = bundle("shop.tar.zst")?;
    ensure!(code == Some(0), "{code:?}: {talk}");
    let all = unpacked(&path)?;
    for (name, text) in &all {
        ensure!(!text.contains("hunter2"), "{name}: {text}");
    }
    for (name, has) in [
        ("about", "operator rita"),
        ("status", "\"web\""),
        ("nodes/web1", "\"kernel\""),
        ("spec", "fence_virsh"),
        ("events", "spec-applied"),
        ("operations/op-1/operation", "start:web@web1"),
        ("operations/op-1/plan", "start:web@web1"),
        ("operations/op-1/journal", "start:web@web1"),
        ("doctor", "agent of web1"),
    ] {
        let text = all
            .get(&format!("shop/{name}.json"))
            .with_context(|| format!("no {name}: {:?}", all.keys()))?;
        ensure!(text.contains(has), "{name}: {text}");
    }

    // Without a coordinator there is little to have, and that is what it says.
    cluster.kill_coordinator()?;
    let path = cluster.path("dead.tar.zst");
    let told = cluster.ctl(
        "rita",
        Role::Reader,
        &["support", "bundle", "--out", &path.display().to_string()],
    )?;
    ensure!(told.status.code() == Some(8), "{:?}", told.status);
    let all = unpacked(&path)?;
    let doctor: Value = serde_json::from_str(&all["dead/doctor.json"])?;
    ensure!(doctor[0]["good"] == false, "{doctor}");
    ensure!(
        all["dead/missing.json"].contains("everything of the cluster"),
        "{all:?}"
    );
    Ok(())
}
