//! Runs the seeds of every fuzz target, and the crashes that were found, through the target's
//! function.

use std::fs;
use std::panic::catch_unwind;
use std::path::Path;

#[path = "../fuzz/src/lib.rs"]
#[allow(dead_code, unreachable_pub, reason = "fuzz targets call these functions from their crate")]
mod fuzz;

#[test]
fn parsers_accept_the_seeds_and_survive_the_crashes() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds");
    for (name, accepts) in fuzz::TARGETS {
        let folder = seeds.join(name);
        let files = fs::read_dir(&folder);
        let files = files.unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let mut accepted = 0;
        for file in files {
            let path = file.expect("an entry of the folder").path();
            let bytes = fs::read(&path).expect("a seed");
            let is_accepted = catch_unwind(|| accepts(&bytes))
                .unwrap_or_else(|_| panic!("{}: the target panics", path.display()));
            let seed = path.file_name().and_then(|seed| seed.to_str()).unwrap_or_default();
            let may_fail = seed.starts_with("crash-") || seed.starts_with("refused-");
            assert!(is_accepted || may_fail, "{}: the parser refuses this seed", path.display());
            accepted += usize::from(is_accepted);
        }
        assert!(accepted > 0, "{name}: no seed that the parser accepts");
    }
}

#[test]
fn every_target_has_a_program_and_seeds_and_no_other_exists() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
    let names = |folder: &str| {
        let entries = fs::read_dir(fuzz.join(folder)).expect("a folder of fuzz");
        let paths = entries.map(|entry| entry.expect("an entry").path());
        let stem = |path: &Path| path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        let mut names: Vec<_> = paths.filter_map(|path| stem(&path)).collect();
        names.sort();
        names
    };
    let targets = fuzz::TARGETS.map(|(name, _)| name);
    assert_eq!(names("fuzz_targets"), targets);
    assert_eq!(names("seeds"), targets);
}
