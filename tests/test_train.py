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
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from unibert import checkpoint, evaluate, train
from unibert.config import Adversary, Distill, TrainConfig
from unibert.errors import UserError
from unibert.manifest import read_manifest
from unibert.teacher import Teacher
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
    [shards], [vocabulary] = (trained / "shards").iterdir(), (trained / "tokenizers").iterdir()
    manifest = read_manifest(trained / "models" / "first")
    assert manifest is not None
    config = config_of(**changes)
    teacher = None
    if config.distill is not None:
        teacher = Teacher(config.distill, student_tokenizer=vocabulary, device="cpu", bf16=False)
    return Trainer(config, shards, manifest["vocab_size"], device="cpu", teacher=teacher)


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
    [(_, micro)] = next(trainer.feed).micros
    assert (micro.clean_RT == PAD).any(), "padding is part of the claim"
    labels_BT = torch.full_like(micro.tokens_RT, -100)
    labels_BT.view(-1)[micro.picked_M] = micro.targets_M
    with torch.no_grad():
        ours = trainer.model.run(micro, bf16=False).mlm / len(micro.targets_M)
        theirs = trainer.model.mlm(
            input_ids=micro.tokens_RT, attention_mask=(micro.clean_RT != PAD).long(), labels=labels_BT
        )
    assert float(ours) == pytest.approx(float(theirs.loss), abs=1e-5)


class Rows(TorchDispatchMode):
    """Notes how many rows the largest matrix over the vocabulary has, of all that anything makes."""

    def __init__(self, vocab_size: int) -> None:
        super().__init__()
        self.vocab_size, self.most = vocab_size, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in made if isinstance(made, tuple | list) else [made]:
            if isinstance(tensor, Tensor) and tensor.ndim and tensor.shape[-1] == self.vocab_size:
                self.most = max(self.most, tensor.numel() // self.vocab_size)
        return made


def test_logits_are_made_at_masked_positions_only(trained: Path) -> None:
    trainer = trainer_of(trained)
    width = trainer.config.model.width
    for _ in range(5):
        [(_, micro)] = next(trainer.feed).micros
        with Rows(trainer.vocab_size) as seen:
            trainer.losses(micro, None, bf16=False)[0]["mlm"].backward()
        # The head's own weights, transposed, are a matrix over the vocabulary too.
        assert seen.most == max(len(micro.targets_M), width) < micro.tokens_RT.numel() / 2


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


def test_a_run_that_keeps_failing_goes_back_and_then_stops_with_the_reason(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"10 steps in a row were skipped near step 20 .* after 3 returns"):
        run(trained, tmp_path / "w", config_of(peak_lr=1e30))
    rows = curve(tmp_path / "w")
    assert [(row["step"], row["rollback"], row["from_step"]) for row in rows] == [(0, n, 20) for n in (1, 2, 3)]
    state = checkpoint.load_state(tmp_path / "w")
    assert state is not None
    assert (state["step"], state["rollbacks"]) == (0, 3)
    assert all(value.isfinite().all() for value in state["losses"].values())


def test_a_stretch_of_bad_text_is_skipped_and_a_long_one_rolled_back(trained: Path, tmp_path: Path) -> None:
    """A hook makes the embeddings infinite on some passes, as a defect in hardware or text would."""
    [shards] = (trained / "shards").iterdir()
    for bad, rollbacks in ((range(23, 26), 0), (range(45, 61), 1)):
        trainer = trainer_of(trained, steps=100, checkpoint_every_s=0.0)
        heldout = evaluate.load_heldout(shards, trainer.config, trainer.vocab_size)
        passes = iter(range(10**6))

        def spoil(module: Any, args: Any, out: Tensor, bad: range = bad, passes: Any = passes) -> Tensor | None:
            return out * math.inf if module.training and next(passes) in bad else None

        trainer.model.mlm.bert.embeddings.LayerNorm.register_forward_hook(spoil)
        work = tmp_path / f"after-{bad.start}"
        work.mkdir()
        events: list[dict[str, Any]] = []
        train._train(trainer, heldout, work, events.append, False)
        rows = curve(work)
        assert trainer.step_number == 100
        assert trainer.rollbacks == rollbacks == sum("rollback" in row for row in rows)
        if rollbacks:  # at the log after pass 60, back to the checkpoint of step 40, and on with other text
            [row] = [row for row in rows if "rollback" in row]
            assert (row["step"], row["from_step"]) == (40, 60)
            assert trainer.feed.number == 120
            assert any("on with other text" in event.get("text", "") for event in events)
        else:
            assert float(trainer.health[1]) == len(bad)
            assert [row["skipped"] for row in rows if "mlm" in row] == pytest.approx([0, len(bad) / 20, 0, 0, 0])
            assert trainer.feed.number == 100
            assert all(math.isfinite(row["mlm"]) for row in rows if "mlm" in row), "of the steps that were taken"
        assert all(p.isfinite().all() for p in trainer.losses.parameters())
        assert math.isfinite([row for row in rows if "mlm" in row][-1]["mlm"])


def test_a_skipped_step_leaves_weights_and_moments_as_they_are(trained: Path) -> None:
    trainer = trainer_of(trained, steps=30, warmup_frac=0.1)
    for _ in range(5):
        trainer.step()
    before = {name: value.clone() for name, value in trainer.losses.state_dict().items()}
    moments = [value["exp_avg"].clone() for value in trainer.optimizer.state_dict()["state"].values()]
    trainer.health[0] = -100.0  # whatever comes is far above this mean
    row = trainer.step()
    assert float(row["skipped"]) == 1.0
    assert float(trainer.health[2]) == 1.0
    assert equal(before, trainer.losses.state_dict())
    after = [value["exp_avg"] for value in trainer.optimizer.state_dict()["state"].values()]
    assert all(torch.equal(a, b) for a, b in zip(moments, after, strict=True))
    trainer.health[0] = 100.0
    assert float(trainer.step()["skipped"]) == 0.0
    assert not equal(before, trainer.losses.state_dict())


def test_micro_batches_take_the_step_of_one_batch(trained: Path) -> None:
    """Accumulated in four parts or computed at once: the same gradient of the mean over all masked positions."""
    trainer = trainer_of(trained, micro_batches=4, batch_tokens=1024)
    step = next(trainer.feed)
    found: list[dict[str, Tensor]] = []
    for together in (False, True):
        trainer.optimizer.zero_grad()
        if together:
            losses = [trainer.losses(micro, None, bf16=False)[0]["mlm"] for _, micro in step.micros]
            (torch.stack(losses).sum() / sum(len(micro.targets_M) for _, micro in step.micros)).backward()
        else:
            for _, micro in step.micros:
                sums, _ = trainer.losses(micro, None, bf16=False)
                trainer.losses.total(sums, step.totals).backward()
        gradients = {name: p.grad for name, p in trainer.losses.named_parameters()}
        found.append({name: grad.clone() for name, grad in gradients.items() if grad is not None})
    assert found[0].keys() == found[1].keys()
    for name in found[0]:
        torch.testing.assert_close(found[0][name], found[1][name], rtol=1e-4, atol=1e-7)


def test_the_teacher_stays_as_it_is_and_pulls_the_student(trained: Path) -> None:
    tutor = str(trained / "models" / "tutor")
    distill = Distill(teacher=tutor, relation_weight=1.0, sentence_weight=1.0)
    trainer = trainer_of(trained, steps=60, distill=distill)
    assert trainer.teacher is not None
    assert trainer.losses.projection is not None, "the tutor is wider"
    before = {name: value.clone() for name, value in trainer.teacher.base.state_dict().items()}
    rows = [trainer.step() for _ in range(60)]
    assert equal(before, trainer.teacher.base.state_dict())
    for name in ("soft", "hidden", "relation", "sentence"):
        assert float(rows[-1][name]) < 0.8 * float(rows[0][name]), name


def test_a_second_student_of_the_same_batches_is_taught_from_the_cache(trained: Path, tmp_path: Path) -> None:
    tutor = str(trained / "models" / "tutor")
    distill = Distill(teacher=tutor, hidden_weight=0.0, top_k=64)
    results = tmp_path / "results"
    (results / "training").mkdir(parents=True)
    for name, changes in (("first", {}), ("second", {"adversary": Adversary()})):
        run(trained, results / "training" / name, config_of(40, distill=distill, **changes))
    [folder] = (results / "teaching").iterdir()
    entries = sum(path.stat().st_size for path in folder.glob("*.bin"))
    assert len(list(folder.glob("*.bin"))) == 1, "the second student wrote nothing"
    rows = [
        [row["soft"] for row in curve(results / "training" / name) if "soft" in row] for name in ("first", "second")
    ]
    assert rows[0][0] == pytest.approx(rows[1][0], rel=1e-6), "before the adversary begins they are the same run"
    assert entries > 0


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
