//! The bundled demonstration data is what `generate` makes of its default seed.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use flate2::read::GzDecoder;

/// Runs the generator with `arguments` into a fresh folder.
fn generate(arguments: &[&str]) -> Result<tempfile::TempDir> {
    let out = tempfile::tempdir()?;
    let program = env!("CARGO_BIN_EXE_generate");
    let status = Command::new(program).args(arguments).arg("--out").arg(out.path()).status()?;
    ensure!(status.success(), "{program} ended with {status}");
    Ok(out)
}

/// The content of a file, decompressed where it is compressed: how well it is, is up to the library.
fn content(path: &Path) -> Result<Vec<u8>> {
    let mut content = Vec::new();
    let mut file = File::open(path).with_context(|| path.display().to_string())?;
    match path.extension() {
        Some(extension) if extension == "gz" => GzDecoder::new(file).read_to_end(&mut content)?,
        _ => file.read_to_end(&mut content)?,
    };
    Ok(content)
}

#[test]
fn default_seed_reproduces_the_bundled_data() -> Result<()> {
    let bundled = Path::new(env!("CARGO_MANIFEST_DIR")).join("data");
    let made = generate(&[])?;
    for name in ["telemetry.ndjson.gz", "metrics.csv", "truth.json"] {
        let same = content(&made.path().join(name))? == content(&bundled.join(name))?;
        assert!(same, "{name} differs from the bundled one");
    }
    Ok(())
}

#[test]
fn same_seed_gives_the_same_bytes_and_another_seed_does_not() -> Result<()> {
    let (one, again, other) =
        (generate(&["--seed", "1"])?, generate(&["--seed", "1"])?, generate(&["--seed", "2"])?);
    for name in ["telemetry.ndjson.gz", "metrics.csv", "truth.json"] {
        let bytes = fs::read(one.path().join(name))?;
        assert!(bytes == fs::read(again.path().join(name))?, "{name} differs for the same seed");
        assert!(bytes != fs::read(other.path().join(name))?, "{name} does not depend on the seed");
    }
    Ok(())
}
