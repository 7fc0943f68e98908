"""The training loop learns, repeats itself bit by bit, and computes what transformers computes."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny_runs
import torch
import world
from torch import Tensor

from unibert import checkpoint, evaluate
from unibert.config import Adversary, Distill, TrainConfig
from unibert.errors import UserError
from unibert.manifest import read_manifest
from unibert.masking import corrupt
from unibert.objectives import mlm_loss
from unibert.tokenizer import PAD
from unibert.train import fit
from unibert.trainer import Trainer


def config_of(steps: int | None = 40, distill: Distill | None = None, **changes: Any) -> TrainConfig:
    return replace(tiny_runs.asked(Path(), "x", steps=steps, **changes).config, distill=distill)


def run(trained: Path, work: Path, config: TrainConfig, events: list[dict[str, Any]] | None = None) -> Trainer:
    torch.set_num_threads(1)
    work.mkdir(exist_ok=True)
    [shards], [vocabulary] = (trained / "shards").iterdir(), (trained / "tokenizers").iterdir()
    return fit(
        config, shard_folder=shards, tokenizer_folder=vocabulary, work=work, device="cpu",
        notify=(events if events is not None else []).append,
    )  # fmt: skip


def trainer_of(trained: Path, **changes: Any) -> Trainer:
    torch.set_num_threads(1)
    [shards] = (trained / "shards").iterdir()
    manifest = read_manifest(trained / "models" / "first")
    assert manifest is not None
    return Trainer(config_of(**changes), shards, manifest["vocab_size"], device="cpu")


def curve(work: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (work / "metrics.jsonl").read_text().splitlines()]


def equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_training_beats_what_frequencies_alone_can_reach(trained: Path) -> None:
    manifest = read_manifest(trained / "models" / "tutor")
    assert manifest is not None
    heldout = manifest["heldout"]
    assert heldout["mlm"]["mean"] < heldout["unigram"] - 1.0
    assert heldout["mlm"]["mean"] < heldout["language_unigram"] < heldout["unigram"] < math.log(manifest["vocab_size"])
    by_language = [heldout["mlm"][code] for code in tiny_runs.LANGUAGES]
    assert heldout["mlm"]["mean"] == pytest.approx(sum(by_language) / 3)
    rows = [json.loads(line) for line in (trained / "models" / "tutor" / "metrics.jsonl").read_text().splitlines()]
    losses = [row["mlm"] for row in rows if "mlm" in row]
    assert losses[0] > losses[4] > losses[-1]


def test_the_loss_is_transformers_own_at_masked_positions(trained: Path) -> None:
    trainer = trainer_of(trained)
    batch = next(trainer.batches)
    tokens_BT = torch.from_numpy(batch.tokens_BT)
    assert (tokens_BT == PAD).any(), "padding is part of the claim"
    corrupted_BT, picked_M, targets_M = corrupt(
        tokens_BT, rate=0.3, vocab_size=trainer.vocab_size, generator=torch.Generator().manual_seed(1)
    )
    labels_BT = torch.full_like(tokens_BT, -100)
    labels_BT.view(-1)[picked_M] = targets_M
    with torch.no_grad():
        ours = mlm_loss(trainer.model(corrupted_BT, picked_M).logits_MV, targets_M)
        theirs = trainer.model.mlm(input_ids=corrupted_BT, attention_mask=(tokens_BT != PAD).long(), labels=labels_BT)
    assert float(ours) == pytest.approx(float(theirs.loss), abs=1e-5)


def test_logits_are_made_at_masked_positions_only(trained: Path) -> None:
    trainer = trainer_of(trained)
    seen: list[tuple[int, ...]] = []
    trainer.model.mlm.cls.register_forward_hook(lambda module, args, out: seen.append(tuple(out.shape)))
    for _ in range(5):
        at = trainer.batches.position
        tokens = next(trainer.batches).tokens_BT
        trainer.batches.seek(at)
        generator = torch.Generator()
        generator.set_state(trainer.generator.get_state())
        _, picked_M, _ = corrupt(
            torch.from_numpy(tokens), rate=trainer.config.mask_rate, vocab_size=trainer.vocab_size, generator=generator
        )
        trainer.step()
        assert seen.pop() == (len(picked_M), trainer.vocab_size)
        assert seen == []
        assert len(picked_M) < tokens.size / 2


def test_padding_changes_no_vector(trained: Path) -> None:
    model = trainer_of(trained).model.eval()
    generator = torch.Generator().manual_seed(0)
    lengths = (5, 17, 40)
    tokens_BT = torch.full((3, 40), PAD)
    for row, length in zip(tokens_BT, lengths, strict=True):
        row[:length] = torch.randint(5, 300, (length,), generator=generator)
    none = torch.zeros(0, dtype=torch.long)
    with torch.no_grad():
        padded_BTD = model(tokens_BT, none).hidden_BTD
        for index, length in enumerate(lengths):
            alone_1TD = model(tokens_BT[index : index + 1, :length], none).hidden_BTD
            torch.testing.assert_close(padded_BTD[index, :length], alone_1TD[0], atol=1e-5, rtol=1e-5)


def test_the_rate_warms_up_stays_and_falls_to_zero(trained: Path) -> None:
    trainer = trainer_of(trained, steps=100, peak_lr=0.5, warmup_frac=0.1)
    rates = [trainer.learning_rate(step) for step in range(100)]
    assert rates[:11] == pytest.approx([0.05 * (i + 1) for i in range(10)] + [0.5])
    assert set(rates[10:71]) == {0.5}
    assert rates[70:] == pytest.approx([0.5 * (30 - i) / 30 for i in range(30)])


def test_the_same_seed_gives_the_same_bytes_with_dropout_too(trained: Path, tmp_path: Path) -> None:
    config = config_of(dropout=0.2, adversary=Adversary(start_frac=0.0))
    states = []
    for name, changed in (("a", config), ("b", config), ("c", replace(config, seed=1))):
        torch.manual_seed(len(states))
        before = torch.get_rng_state()
        states.append(run(trained, tmp_path / name, changed).model.state_dict())
        assert torch.equal(torch.get_rng_state(), before)
    assert equal(states[0], states[1])
    assert not equal(states[0], states[2])
    assert curve(tmp_path / "a") == curve(tmp_path / "b") != curve(tmp_path / "c")


def test_without_strength_the_encoder_trains_as_if_there_were_no_adversary(trained: Path, tmp_path: Path) -> None:
    plain = run(trained, tmp_path / "plain", config_of(80))
    adversary = Adversary(strength=0.0, start_frac=0.25)
    watched = run(trained, tmp_path / "watched", config_of(80, adversary=adversary))
    pushed = run(trained, tmp_path / "pushed", config_of(80, adversary=replace(adversary, strength=1.0)))
    losses = {name: [row["mlm"] for row in curve(tmp_path / name) if "mlm" in row] for name in ("plain", "watched")}
    assert losses["plain"] == losses["watched"]
    assert equal(plain.model.state_dict(), watched.model.state_dict())
    assert not equal(plain.model.state_dict(), pushed.model.state_dict())
    accuracy = [row["disc_accuracy"] for row in curve(tmp_path / "watched") if "disc_accuracy" in row]
    assert len(accuracy) == 3, "it starts after a quarter"
    assert accuracy[-1] > 0.9
    assert not any("strength" in row for row in curve(tmp_path / "watched"))
    assert any(row.get("strength", 0) > 0 for row in curve(tmp_path / "pushed"))


def test_a_finished_run_started_again_does_nothing(trained: Path, tmp_path: Path) -> None:
    first = run(trained, tmp_path / "w", config_of())
    before = (tmp_path / "w" / "metrics.jsonl").read_bytes()
    again = run(trained, tmp_path / "w", config_of())
    assert equal(first.model.state_dict(), again.model.state_dict())
    assert (tmp_path / "w" / "metrics.jsonl").read_bytes() == before


def test_a_resumed_run_must_be_the_same_run(trained: Path, tmp_path: Path) -> None:
    run(trained, tmp_path / "w", config_of())
    with pytest.raises(UserError, match=r"other settings \(mask_rate, seed\)"):
        run(trained, tmp_path / "w", config_of(seed=3, mask_rate=0.2))


def test_a_half_written_row_and_rows_after_the_checkpoint_are_cut(trained: Path, tmp_path: Path) -> None:
    run(trained, tmp_path / "w", config_of())
    path = tmp_path / "w" / "metrics.jsonl"
    whole = path.read_text()
    path.write_text(whole + '{"mlm": 1.0, "step": 60, "tokens": 1}\n{"mlm": 2.')
    run(trained, tmp_path / "w", config_of())
    assert path.read_text() == whole


def test_a_damaged_state_is_named(trained: Path, tmp_path: Path) -> None:
    run(trained, tmp_path / "w", config_of())
    path = tmp_path / "w" / checkpoint.STATE
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"state\.pt is not a readable training state") as caught:
        run(trained, tmp_path / "w", config_of())
    assert "\n" not in str(caught.value)


def test_a_budget_becomes_a_number_of_steps_that_stays(trained: Path, tmp_path: Path) -> None:
    config = config_of(None, budget_s=1.5, batch_tokens=2048)
    trainer = run(trained, tmp_path / "w", config)
    plan = json.loads((tmp_path / "w" / "plan.json").read_text())
    steps = plan["config"]["steps"]
    assert trainer.step_number == steps >= 20
    assert (plan["asked"]["budget_s"], plan["asked"]["steps"], plan["config"]["budget_s"]) == (1.5, None, None)
    assert curve(tmp_path / "w")[-1]["step"] == steps
    (tmp_path / "w" / checkpoint.STATE).unlink()
    (tmp_path / "w" / "plan.json").write_text(json.dumps({**plan, "config": {**plan["config"], "steps": 21}}))
    events: list[dict[str, Any]] = []
    assert run(trained, tmp_path / "w", config, events).step_number == 21
    assert [event["event"] for event in events].count("note") == 0, "nothing is measured again"


def test_a_loss_that_is_no_number_stops_the_run(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"the loss is nan at step 20; lower peak_lr"):
        run(trained, tmp_path / "w", config_of(peak_lr=1e30))
    assert not (tmp_path / "w" / checkpoint.STATE).exists()


def test_a_teacher_must_open_and_share_the_vocabulary(trained: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    tiny_runs.train(tiny_runs.asked(other, "foreign", steps=1, vocab_size=500))
    for folder, expected in (
        (other / "models" / "foreign", "soft targets need the same one"),
        (tmp_path / "none", "cannot be opened"),
    ):
        with pytest.raises(UserError, match=expected) as caught:
            trainer_of(trained, distill=Distill(teacher=str(folder)))
        assert "\n" not in str(caught.value)


def test_the_teacher_stays_as_it_is_and_pulls_the_student(trained: Path) -> None:
    tutor = str(trained / "models" / "tutor")
    trainer = trainer_of(trained, steps=60, distill=Distill(teacher=tutor))
    assert trainer.teacher is not None
    assert trainer.projection is not None, "the tutor is wider"
    before = {name: value.clone() for name, value in trainer.teacher.state_dict().items()}
    rows = [trainer.step() for _ in range(60)]
    assert equal(before, trainer.teacher.state_dict())
    for name in ("soft", "hidden"):
        assert float(rows[-1][name]) < 0.8 * float(rows[0][name])


def test_an_export_opens_and_computes_the_same_logits(trained: Path, tmp_path: Path) -> None:
    from transformers import AutoModel, AutoModelForMaskedLM, AutoTokenizer

    trainer = run(trained, tmp_path / "w", config_of(20))
    [vocabulary] = (trained / "tokenizers").iterdir()
    out = checkpoint.export(trainer.model, vocabulary, tmp_path / "out", {}, "a card", extra={"metrics.jsonl": ""})
    tokenizer = AutoTokenizer.from_pretrained(out)
    batch = tokenizer([lines[0] for lines in world.corpus().values()], padding=True, return_tensors="pt")
    mlm, encoder = AutoModelForMaskedLM.from_pretrained(out).eval(), AutoModel.from_pretrained(out).eval()
    everywhere = torch.arange(batch["input_ids"].numel())
    trainer.model.eval()
    with torch.no_grad():
        ours = trainer.model(batch["input_ids"], everywhere)
        torch.testing.assert_close(mlm(**batch).logits.flatten(0, 1), ours.logits_MV)
        torch.testing.assert_close(encoder(**batch).last_hidden_state, ours.hidden_BTD)
    assert mlm.config.hidden_dropout_prob == 0.1, "pretraining goes without, fine-tuning does not"
    assert tokenizer.model_max_length == mlm.config.max_position_embeddings == 64
    assert tokenizer.mask_token_id == 4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "w"], "no temporary folder is left"


def test_training_starts_at_the_unigram_loss(trained: Path) -> None:
    [shards] = (trained / "shards").iterdir()
    trainer = trainer_of(trained)
    heldout = evaluate.load_heldout(shards, trainer.config, trainer.vocab_size)
    before = evaluate.heldout_loss(trainer.model, heldout, device="cpu", bf16=False)["mean"]
    unigram = evaluate.unigram_baselines(heldout, shards, trainer.batches.shares_L, trainer.vocab_size)["unigram"]
    assert before == pytest.approx(unigram, abs=0.1)


def test_held_out_masks_are_the_same_for_every_model(trained: Path) -> None:
    [shards] = (trained / "shards").iterdir()
    configs = (tiny_runs.asked(trained, name, seed=seed).config for name, seed in (("a", 0), ("b", 1)))
    first, second = (evaluate.load_heldout(shards, config, 500) for config in configs)
    assert all(torch.equal(a, b) for a, b in zip(first.corrupted, second.corrupted, strict=True))
    assert sum(len(code) for code in first.language) > 20
