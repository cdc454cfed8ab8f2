"""`nas verify` on files that hold and files that do not."""

from nas_program import run_here


def test_files_that_hold_are_a_table_and_code_0(capsys, tmp_path):
    for form in ("yaml", "timm", "torch"):
        run_here(capsys, "export", "efficientnetv2-b0", "--format", form, "--out", tmp_path)
    files = sorted(tmp_path.iterdir())
    ended = run_here(capsys, "verify", *files)
    assert (ended.code, ended.err) == (0, "")
    assert len(ended.out.splitlines()) == 4
    assert ended.out.count("holds") == 3
    as_json = run_here(capsys, "verify", *files, "--json").json
    assert {each["kind"] for each in as_json} == {"architecture", "module"}
    assert {each["digest"][:4] for each in as_json} == {"d1c7"}
    assert all(each["has_checksum"] for each in as_json)


def test_one_that_does_not_hold_is_named_and_fails_the_command(capsys, tmp_path):
    run_here(capsys, "export", "efficientnetv2-b0", "--out", tmp_path)
    whole = tmp_path / "efficientnetv2-b0.yaml"
    changed = tmp_path / "changed.yaml"
    changed.write_text(whole.read_text().replace("depth: 2", "depth: 3"))
    ended = run_here(capsys, "verify", changed, whole, tmp_path / "none.onnx", tmp_path / "a.zip")
    assert ended.code == 1
    assert "efficientnetv2-b0.yaml" in ended.out
    assert "changed.yaml" not in ended.out
    assert len(ended.err.splitlines()) == 3
    for name in ("changed.yaml", "none.onnx", "a.zip"):
        assert name in ended.err
