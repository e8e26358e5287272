//! `tollgate migrate`, with the real git as the judge of its patches.

mod generated;
mod texts;

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::Path,
    process::{Command, Stdio},
};

use tempfile::TempDir;

use crate::{
    check::{GOOD, Ran, folder, tollgate},
    support::apiserver::{Judging, Names, crds},
};

/// A manifest that says `shared`, with everything around it that must survive.
pub fn shared() -> String {
    GOOD.replace("    global:", "    # for all\n    \"shared\": &limit   # as agreed")
}

/// What is said beside a rename, where nobody knows the CRD.
const NOTE: &str = "note: a CRD that lacks global drops these limits: --crd cluster, or --crd FILE, renames only what the CRD keeps\n";

pub fn migrate(folder: &TempDir, args: &[&str]) -> Ran {
    tollgate(folder, &[&["migrate"], args].concat())
}

pub fn git(at: &Path, args: &[&str]) -> Ran {
    let mut command = Command::new("git");
    command.current_dir(at).args(["-c", "user.name=test", "-c", "user.email=test@example.com", "-c", "core.autocrlf=false"]).args(args);
    command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_SYSTEM", "/dev/null");
    Ran::of(command.output().expect("git is there"))
}

fn committed(folder: &TempDir) {
    for args in [&["init", "-q"][..], &["add", "-A"], &["commit", "-qm", "as it was"]] {
        let ran = git(folder.path(), args);
        assert_eq!(ran.code, 0, "{ran:?}");
    }
}

fn read(folder: &TempDir, name: &str) -> String {
    fs::read_to_string(folder.path().join(name)).expect("a file")
}

#[test]
fn only_what_the_crd_keeps_is_renamed() {
    let file = |names| crds(Judging::No, names).iter().map(|crd| format!("---\n{crd}\n")).collect::<String>();
    let folder = folder(&[("a.yaml", &shared()), ("crds/both.yaml", &file(Names::Both)), ("old.yaml", &file(Names::SharedOnly))]);
    let ran = migrate(&folder, &["--crd", "old.yaml", "a.yaml"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, ""), "{ran:?}");
    assert!(
        ran.stderr.starts_with("warning[TG101]: spec.rateLimiting.shared: stays\n")
            && ran.stderr.contains("^ the given CRD has no global\n"),
        "{}",
        ran.stderr
    );
    let ran = migrate(&folder, &["--crd", "crds", "a.yaml"]);
    assert_eq!((ran.code, ran.stderr.as_str(), ran.stdout.contains("+    \"global\": &limit   # as agreed")), (0, "", true), "{ran:?}");
    let ran = migrate(&folder, &["--require-crd", "--write", "a.yaml"]);
    assert!(ran.code == 2 && ran.stderr.starts_with("error: --require-crd needs --crd: "), "{ran:?}");
    assert_eq!(read(&folder, "a.yaml"), shared());
    for (crd, says) in [("old.yaml", ""), ("crds", "deprecated, write global\n")] {
        let ran = tollgate(&folder, &["check", "--crd", crd, "a.yaml"]);
        assert_eq!(ran.stdout.contains("TG101"), !says.is_empty(), "{crd}: {}", ran.stdout);
        assert!(ran.stdout.contains(says), "{crd}: {}", ran.stdout);
    }
    assert!(tollgate(&folder, &["check", "a.yaml"]).stdout.contains("deprecated, write global once the installed CRD has it\n"));
}

#[test]
fn hard_links_stay_and_patches_have_no_dots() {
    let folder = folder(&[("sub/a.yaml", &shared()), ("other/empty.txt", "")]);
    fs::hard_link(folder.path().join("sub/a.yaml"), folder.path().join("b.yaml")).expect("a link");
    committed(&folder);
    let ran = migrate(&folder, &["other/../sub/a.yaml"]);
    fs::write(folder.path().join("the.patch"), &ran.stdout).expect("a file");
    let applied = git(folder.path(), &["apply", "--check", "the.patch"]);
    assert_eq!(applied.code, 0, "{applied:?}\n{}", ran.stdout);
    assert_eq!(migrate(&folder, &["--write", "sub"]).code, 0);
    assert!(read(&folder, "b.yaml").contains("global") && read(&folder, "b.yaml") == read(&folder, "sub/a.yaml"));
}

#[test]
fn json_patches_of_a_renamed_path_are_named() {
    let patch = "- op: replace\n  path: /spec/rateLimiting/shared/maxTokens\n  value: 5\n";
    let inline = "kind: Kustomization\npatches:\n- patch: '[{\"op\": \"remove\", \"path\": \"/spec/rateLimiting/tools/0/shared\"}]'\n";
    let merged =
        "patches:\n- target: {kind: MCPServer}\n  patch: |-\n    spec:\n      rateLimiting:\n        shared:\n          maxTokens: 7\n";
    let folder = folder(&[("a.yaml", &shared()), ("patch.yaml", patch), ("kustomization.yaml", inline), ("o/kustomization.yaml", merged)]);
    let ran = migrate(&folder, &["."]);
    assert_eq!(ran.code, 1, "{ran:?}");
    for place in ["patch.yaml:2:14", "kustomization.yaml:3:", "o/kustomization.yaml:6:9"] {
        assert!(ran.stderr.contains(place), "{place}: {}", ran.stderr);
    }
    assert!(ran.stderr.contains("error[TG101]: a patch of shared leads nowhere once its object says global"), "{}", ran.stderr);
}

#[test]
fn without_write_nothing_is_written_and_the_patch_applies() {
    let crlf = shared().replace('\n', "\r\n");
    let unended = shared().trim_end().to_owned();
    let cr = shared().replace('\n', "\r");
    let files = [("a.yaml", shared()), ("a b/ü \"q\".yaml", shared()), ("crlf.yaml", crlf), ("cr.yaml", cr), ("sub/unended.yaml", unended)];
    let folder = folder(&files.each_ref().map(|(name, text)| (*name, text.as_str())));
    committed(&folder);
    let ran = migrate(&folder, &["."]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, NOTE));
    assert_eq!(git(folder.path(), &["status", "--porcelain"]).stdout, "", "nothing is written");
    fs::write(folder.path().join("the.patch"), &ran.stdout).expect("a file");
    let applied = git(folder.path(), &["apply", "the.patch"]);
    assert_eq!(applied.code, 0, "{applied:?}\n{}", ran.stdout);
    for (name, text) in &files {
        assert_eq!(read(&folder, name), text.replace("\"shared\"", "\"global\""), "{name}");
    }
    assert_eq!(migrate(&folder, &["."]).stdout, "", "there is nothing left to do");
}

#[test]
fn a_patch_applies_in_the_folder_where_it_was_made() {
    let folder = folder(&[("deep/a.yaml", &shared())]);
    committed(&folder);
    let deep = folder.path().join("deep");
    let mut command = crate::support::serve::command(&folder);
    let whole_path = deep.join("a.yaml");
    let ran = Ran::of(command.current_dir(&deep).arg("migrate").arg(&whole_path).output().expect("it starts"));
    assert!(ran.stdout.starts_with("--- a/a.yaml\n+++ b/a.yaml\n"), "{}", ran.stdout);
    fs::write(deep.join("the.patch"), &ran.stdout).expect("a file");
    assert_eq!(git(&deep, &["apply", "the.patch"]).code, 0);
    assert!(read(&folder, "deep/a.yaml").contains("\"global\": &limit"));
}

#[test]
fn writing_every_sample_changes_the_key_and_nothing_else() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/samples");
    let folder = folder(&[]);
    for kind in ["good", "bad"] {
        fs::create_dir(folder.path().join(kind)).expect("a folder");
        for file in crate::samples::samples(kind) {
            fs::copy(&file, folder.path().join(kind).join(file.file_name().expect("a name"))).expect("a copy");
        }
    }
    committed(&folder);
    let ran = migrate(&folder, &["--write", "."]);
    assert_eq!(ran.code, 1, "one sample says two things");
    assert!(
        ran.stderr.contains("error[TG008]: spec.rateLimiting.shared: shared (50 per 1m0s) and global (100 per 1m0s) disagree"),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("tg008-mcpserver-shared-and-global.yaml:19:5"), "{}", ran.stderr);
    assert_eq!(ran.stdout, "");
    let diff = git(folder.path(), &["diff", "--word-diff=porcelain", "-U0"]).stdout;
    let words: Vec<_> =
        diff.lines().filter(|line| line.starts_with(['-', '+']) && !line.starts_with("---") && !line.starts_with("+++")).collect();
    assert_eq!(words, ["-shared:", "+global:"], "{diff}");
    assert!(root.join("good/mcpserver-shared.yaml").exists() && diff.contains("good/mcpserver-shared.yaml"));
}

#[test]
fn mode_owner_and_symlinks_stay() {
    let folder = folder(&[("real/a.yaml", &shared()), ("read-only.yaml", &shared())]);
    let real = folder.path().join("real/a.yaml");
    fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).expect("ours");
    fs::set_permissions(folder.path().join("read-only.yaml"), fs::Permissions::from_mode(0o444)).expect("ours");
    symlink("real/a.yaml", folder.path().join("link.yaml")).expect("a link");
    let before = fs::metadata(&real).expect("it is there");
    assert_eq!(migrate(&folder, &["--write", "link.yaml"]).code, 0);
    let after = fs::metadata(&real).expect("it is there");
    assert_eq!((after.mode(), after.uid(), after.gid()), (before.mode(), before.uid(), before.gid()));
    assert_ne!(after.ino(), before.ino(), "a new file took its place in one step");
    assert!(folder.path().join("link.yaml").is_symlink());
    assert!(read(&folder, "link.yaml").contains("\"global\""));
    let left: Vec<_> =
        fs::read_dir(folder.path().join("real")).expect("a folder").map(|entry| entry.expect("an entry").file_name()).collect();
    assert_eq!(left, ["a.yaml"], "nothing is left behind");

    let ran = migrate(&folder, &["--write", "read-only.yaml"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("read-only.yaml") && ran.stderr.contains("cannot be written: the file is read-only"), "{}", ran.stderr);
    assert_eq!(read(&folder, "read-only.yaml"), shared());
}

#[test]
fn both_may_be_asked_for() {
    let folder = folder(&[("a.yaml", &shared())]);
    let ran = migrate(&folder, &["--write", "--diff", "a.yaml"]);
    assert!(ran.stdout.contains("-    \"shared\": &limit   # as agreed\n+    \"global\": &limit   # as agreed\n"), "{}", ran.stdout);
    assert!(read(&folder, "a.yaml").contains("\"global\""));
}

#[test]
fn templates_and_broken_files_are_refused_whole() {
    let template = format!("{}---\n{{{{- if .Values.limits }}}}\n{}{{{{- end }}}}\n", shared(), shared());
    let broken = format!("{}---\nkind: MCPServer\n\tspec: {{}}\n", shared());
    let folder = folder(&[("template.yaml", &template), ("broken.yaml", &broken), ("not-ours.yaml", "a: [\n")]);
    let ran = migrate(&folder, &["--write", "."]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("error[unreadable]: this is a template, not YAML"), "{}", ran.stderr);
    assert!(ran.stderr.contains("template.yaml:14:1") && ran.stderr.contains("broken.yaml:15:1"), "{}", ran.stderr);
    assert_eq!((read(&folder, "template.yaml"), read(&folder, "broken.yaml")), (template.clone(), broken));
    assert_eq!(migrate(&folder, &["not-ours.yaml"]).code, 0);
    fs::write(folder.path().join("nothing-to-do.yaml"), template.replace("shared", "global").replace('"', "")).expect("a file");
    assert_eq!(migrate(&folder, &["nothing-to-do.yaml"]).code, 0, "a template that does not say shared is left alone");
    let ran = migrate(&folder, &["-"]);
    assert!(ran.code == 2 && ran.stderr.contains("migrate takes files and folders, not -"), "{ran:?}");
    let ran = migrate(&folder, &["gone.yaml"]);
    assert!(ran.code == 2 && ran.stderr.contains("the file does not exist"), "{ran:?}");
}

#[test]
fn a_run_that_is_killed_leaves_whole_files() {
    let folder = folder(&[]);
    let files: Vec<_> = (0..300).map(|at| folder.path().join(format!("{at:03}.yaml"))).collect();
    let old = shared();
    let new = old.replace("\"shared\"", "\"global\"");
    // On a busy machine a run may be over before it is killed; then it is tried again.
    let mut killed_between = 0;
    for attempt in 0.. {
        assert!(attempt < 100, "no run was killed while it wrote");
        files.iter().for_each(|file| fs::write(file, &old).expect("a file"));
        let mut child = crate::support::serve::command(&folder).args(["migrate", "--write", "."]).spawn().expect("it starts");
        let begun = &files[(attempt * 40) % files.len()];
        while fs::read_to_string(begun).expect("it is there") == old && child.try_wait().expect("a child").is_none() {}
        let _ = child.kill();
        let _ = child.wait();
        let texts: Vec<_> = files.iter().map(|file| fs::read_to_string(file).expect("it is there")).collect();
        assert!(texts.iter().all(|text| *text == old || *text == new), "a file is neither old nor new");
        killed_between += usize::from(texts.contains(&old) && texts.contains(&new));
        if killed_between == 6 {
            break;
        }
    }
}

#[test]
fn a_run_that_is_told_to_stop_leaves_nothing_beside_the_files() {
    let folder = folder(&[]);
    let (old, count) = (shared(), 2_000);
    let new = old.replace("\"shared\"", "\"global\"");
    let run = || {
        (0..count).for_each(|at| fs::write(folder.path().join(format!("{at:04}.yaml")), &old).expect("a file"));
        let mut command = crate::support::serve::command(&folder);
        let mut child = command.args(["migrate", "--write", "."]).stderr(Stdio::piped()).spawn().expect("it starts");
        while read(&folder, "0000.yaml") != new && child.try_wait().expect("a child").is_none() {}
        if child.try_wait().expect("a child").is_none() {
            Command::new("kill").args(["-s", "INT", &child.id().to_string()]).status().expect("kill is there");
        }
        Ran::of(child.wait_with_output().expect("it ends"))
    };
    // On a busy machine a run may be over before it is stopped; then it is tried again.
    let ran = (0..20).map(|_| run()).find(|ran| ran.code != 0).expect("a run that was stopped in time");
    assert_eq!((ran.code, ran.stderr.as_str()), (2, "error: stopped by a signal: some files are written, the others are as they were\n"));
    assert_eq!(read(&folder, &format!("{:04}.yaml", count - 1)), old, "it did not go on");
    let entries = fs::read_dir(folder.path()).expect("a folder").map(|entry| entry.expect("an entry").file_name());
    assert!(entries.into_iter().all(|name| name.to_string_lossy().ends_with(".yaml")), "something is left behind");
}
