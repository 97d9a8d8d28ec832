import re
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from calibrate.corpora import CORPORA, Corpus, Utterance, read_corpus
from calibrate.corpora.crema_d import Demographics, read_demographics
from calibrate.corpora.esd import MANDARIN
from edge.errors import UsageError

ENGLISH = tuple(f"esd-{speaker:04d}" for speaker in range(11, 21))
CLIP = np.zeros(800, np.float32)
NAMED = {name: reader for name, reader in CORPORA.items() if isinstance(reader, Corpus)}

# Per corpus: a good name, and what it says as speaker, emotion, gender, intensity, text.
GOOD = [
    ("ravdess", "Actor_12/03-01-06-01-02-01-12.wav", "12 fearful f 1.0", "Dogs are sitting by the door"),
    ("ravdess", "03-01-02-02-01-02-07.opus", "07 calm m 2.0", "Kids are talking by the door"),
    ("nemo", "samples/WR0_surprised_64.wav", "WR0 surprised None None", None),
    ("banglaser", "03-01-01-01-03-02-34.wav", "34 happy f None", None),
    ("banglaser", "01-01-04-02-03-01-15.wav", "15 surprise m None", None),
    ("crema-d", "AudioWAV/1001_IEO_DIS_LO.wav", "1001 disgust None 0.0", "It's eleven o'clock"),
    ("crema-d", "1091_WSI_HAP_HI.wav", "1091 happy None 2.0", "We'll stop in a couple of minutes"),
    ("crema-d", "1040_ITH_SAD_X.wav", "1040 sad None None", "I think I have a doctor's appointment"),
    ("esd", "0011/Angry/0011_000351.wav", "0011 angry m None", None),
    ("esd", "0001/Surprise/evaluation/0001_001401.wav", "0001 surprise f None", None),
    ("esd", "train/0020/Neutral/0020_000001.wav", "0020 neutral m None", None),
    ("emodb", "wav/03a01Fa.wav", "03 happiness m None", "Der Lappen liegt auf dem Eisschrank."),
    ("emodb", "16b10Lb.wav", "16 boredom f None", "Die wird auf dem Platz sein, wo wir sie immer hinlegen."),
    ("emovo", "f1/dis-f1-b1.wav", "f1 disgusto f None", None),
    ("emovo", "m3/gio-m3-n5.wav", "m3 gioia m None", None),
    ("librispeech", "dev-clean/84/121123/84-121123-0000.flac", "84 neutral None None", None),
    ("tess", "OAF_angry/OAF_back_angry.wav", "OAF angry f None", "Say the word back"),
    ("tess", "YAF_pleasant_surprised/YAF_home_ps.wav", "YAF pleasant surprise f None", "Say the word home"),
    ("tess", "OA_bite_neutral.wav", "OAF neutral f None", "Say the word bite"),
    ("savee", "AudioData/DC/a01.wav", "DC anger m None", None),
    ("savee", "KL_su15.wav", "KL surprise m None", None),
]

BAD = [
    ("ravdess", "02-01-06-01-02-01-12.wav", "is speech, video only; only speech recorded as audio"),
    ("ravdess", "03-02-06-01-02-01-12.wav", "is song, audio only; only speech recorded as audio"),
    ("ravdess", "03-01-09-01-02-01-12.wav", "emotion '09' is not one of 01, 02, 03, 04, 05, 06, 07, 08"),
    ("ravdess", "03-01-06-01-02-01-25.wav", "actor '25' is not one of 01 to 24"),
    ("ravdess", "03-01-06-01-02-12.wav", "is not named 03-01-EE-II-SS-RR-AA"),
    ("nemo", "WR0_surprise_64.wav", "emotion 'surprise' is not one of .*did you mean 'surprised'"),
    ("nemo", "wr0.wav", "is not named SPK_emotion_sentence"),
    ("banglaser", "02-01-04-02-03-01-15.wav", "modality '02' is not one of 03, 01"),
    ("banglaser", "03-01-06-02-03-01-15.wav", "emotion '06'"),
    ("crema-d", "1092_IEO_DIS_LO.wav", "actor '1092' is not one of 1001 to 1091"),
    ("crema-d", "1001_IEO_HPA_LO.wav", "emotion 'HPA' is not one of .*did you mean 'HAP'"),
    ("crema-d", "1001_XYZ_HAP_LO.wav", "sentence 'XYZ'"),
    ("crema-d", "1001_IEO_HAP_MI.wav", "level 'MI'"),
    ("esd", "0011_000351.wav", "is in no emotion folder"),
    ("esd", "0011/Angri/0011_000351.wav", "emotion folder 'Angri' is not one of .*did you mean 'Angry'"),
    ("esd", "0021/Angry/0021_000351.wav", "speaker '0021' is not one of 0001 to 0020"),
    ("emodb", "04a01Fa.wav", "speaker '04'"),
    ("emodb", "03a01Xa.wav", "emotion 'X'"),
    ("emodb", "03a03Fa.wav", "sentence 'a03'"),
    ("librispeech", "84-121123.flac", "is not named speaker-chapter-utterance"),
    ("emovo", "dis-f4-b1.wav", "speaker 'f4'"),
    ("emovo", "noi-f1-b1.wav", "emotion 'noi'"),
    ("tess", "MAF_back_angry.wav", "speaker 'MAF'"),
    ("tess", "OAF_back_calm.wav", "emotion 'calm'"),
    ("savee", "a01.wav", "speaker '' is not one of DC, JE, JK, KL"),
    ("savee", "DC/x01.wav", "emotion 'x'"),
]


def clip(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, CLIP, 16_000, **({"format": "OGG", "subtype": "OPUS"} if path.suffix == ".opus" else {}))
    return path


def summary(utterance: Utterance) -> str:
    speaker = utterance.speaker.removeprefix(f"{utterance.corpus}-")
    return f"{speaker} {utterance.emotion} {utterance.gender} {utterance.intensity}"


@pytest.mark.parametrize(("corpus", "name", "says", "text"), GOOD)
def test_names_of_the_official_layout(tmp_path: Path, corpus: str, name: str, says: str, text: str | None) -> None:
    path = clip(tmp_path / name)
    (utterance,) = read_corpus(corpus, tmp_path, strict=True).utterances
    assert utterance.path == path
    assert utterance.corpus == corpus
    assert summary(utterance) == says
    assert utterance.text == text


@pytest.mark.parametrize(
    ("corpus", "names"),
    [
        ("ravdess", ("03-01-06-01-02-01-12", "03-01-02-02-02-02-07")),
        ("nemo", ("WR0_surprised_64", "EB0_neutral_64")),
        ("banglaser", ("03-01-01-01-03-02-34", "03-01-04-02-03-01-15")),
        ("crema-d", ("1001_IEO_DIS_LO", "1091_IEO_HAP_HI")),
        ("esd", ("0011/Angry/0011_000351", "0020/Neutral/0020_000001", "0011/Surprise/0011_001401")),
        ("emodb", ("03a01Fa", "16a01Lb")),
        ("emovo", ("dis-f1-b1", "gio-m3-b1")),
        ("tess", ("OAF_back_angry", "YAF_back_ps")),
    ],
)
def test_the_same_words_have_the_same_code(corpus: str, names: tuple[str, ...]) -> None:
    sentences = {NAMED[corpus].parse(PurePosixPath(f"{name}.wav")).sentence for name in names}
    assert len(sentences) == 1
    assert sentences != {None}


def test_parallel_sentences_of_two_languages_are_not_the_same() -> None:
    names = ("0001/Angry/0001_000351.wav", "0011/Angry/0011_000351.wav", "0011/Angry/0011_000352.wav")
    assert [NAMED["esd"].parse(PurePosixPath(name)).sentence for name in names] == ["zh-001", "en-001", "en-002"]


@pytest.mark.parametrize(("corpus", "name", "rule"), BAD)
def test_other_names_are_refused_with_the_rule(tmp_path: Path, corpus: str, name: str, rule: str) -> None:
    good = clip(tmp_path / next(good for reader, good, *_ in GOOD if reader == corpus))
    bad = clip(tmp_path / name)
    listing = read_corpus(corpus, tmp_path)
    assert [utterance.path for utterance in listing.utterances] == [good]
    (refusal,) = listing.refused
    assert refusal.path == bad
    assert bad.name in refusal.reason
    assert re.search(rule, refusal.reason)
    with pytest.raises(UsageError, match=re.escape(refusal.reason)):
        read_corpus(corpus, tmp_path, strict=True)


@given(st.sampled_from(sorted(NAMED)), st.text(max_size=40))
def test_any_name_is_parsed_or_refused(corpus: str, name: str) -> None:
    parses_or_refuses(corpus, name)


@given(st.sampled_from([good[:2] for good in GOOD]), st.data())
def test_any_name_near_a_good_one_is_parsed_or_refused(good: tuple[str, str], data: st.DataObject) -> None:
    corpus, name = good
    at = data.draw(st.integers(0, len(name)))
    parses_or_refuses(corpus, name[:at] + data.draw(st.text(max_size=2)) + name[at + data.draw(st.integers(0, 2)) :])


def parses_or_refuses(corpus: str, name: str) -> None:
    path = PurePosixPath(name)
    try:
        utterance = NAMED[corpus].parse(path)
    except UsageError as error:
        reason = str(error)
        assert repr(path.name) in reason
    else:
        assert utterance.emotion in NAMED[corpus].emotions
        assert utterance.speaker.startswith(f"{corpus}-")
        assert utterance.path == Path(path)


def test_the_walk_is_recursive_and_sorted_and_skips_what_is_hidden_or_no_audio(tmp_path: Path) -> None:
    names = ["b/03-01-01-01-01-01-02.WAV", "a/c/03-01-01-01-01-01-03.flac", "03-01-01-01-01-01-01.opus"]
    for name in [*names, ".trash/03-01-01-01-01-01-04.wav", "a/._03-01-01-01-01-01-03.wav"]:
        clip(tmp_path / name)
    (tmp_path / "notes.txt").write_text("not audio")
    (tmp_path / "folder.wav").mkdir()
    listing = read_corpus("ravdess", tmp_path, strict=True)
    assert [utterance.path for utterance in listing.utterances] == sorted(tmp_path / name for name in names)


def test_a_second_copy_is_refused_and_the_wav_kept(tmp_path: Path) -> None:
    wav = clip(tmp_path / "AudioWAV" / "1001_IEO_DIS_LO.wav")
    mp3 = clip(tmp_path / "AudioMP3" / "1001_IEO_DIS_LO.mp3")
    listing = read_corpus("crema-d", tmp_path)
    assert [utterance.path for utterance in listing.utterances] == [wav]
    assert listing.refused == [(mp3, f"'1001_IEO_DIS_LO.mp3' is a copy of {wav}")]


def test_equal_names_of_different_speakers_are_no_copies(tmp_path: Path) -> None:
    clip(tmp_path / "DC" / "a01.wav")
    clip(tmp_path / "JE" / "a01.wav")
    assert len(read_corpus("savee", tmp_path, strict=True).utterances) == 2


def test_an_unknown_corpus_names_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"'ravdes' is not one of ravdess, nemo, .*did you mean 'ravdess'"):
        read_corpus("ravdes", Path())


@pytest.mark.parametrize("corpus", sorted(NAMED))
def test_a_folder_without_the_corpus_says_what_was_expected(tmp_path: Path, corpus: str) -> None:
    expected = re.escape(NAMED[corpus].layout)
    with pytest.raises(UsageError, match=f"holds no recording of {corpus}; expected {expected}$"):
        read_corpus(corpus, tmp_path)
    clip(tmp_path / "hello.wav")
    with pytest.raises(UsageError, match=f"expected {expected} .1 refused: 'hello.wav' is not named"):
        read_corpus(corpus, tmp_path)


@pytest.mark.parametrize("corpus", sorted(NAMED))
def test_a_missing_folder_or_a_file_in_its_place(tmp_path: Path, corpus: str) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        read_corpus(corpus, tmp_path / "absent")
    with pytest.raises(UsageError, match="is not a folder"):
        read_corpus(corpus, clip(tmp_path / "a.wav"))


@pytest.mark.parametrize("place", ["VideoDemographics.csv", "AudioWAV/VideoDemographics.csv"])
def test_crema_d_demographics_lie_beside_or_above(tmp_path: Path, place: str) -> None:
    clip(tmp_path / "AudioWAV" / "1001_IEO_DIS_LO.wav")
    clip(tmp_path / "AudioWAV" / "1002_IEO_DIS_LO.wav")
    (tmp_path / place).write_text(
        "ActorID,Age,Sex,Race,Ethnicity\n1001,51,Male,Caucasian,Not Hispanic\n1002,21,Female,Unknown,Hispanic\n"
    )
    folder = tmp_path / "AudioWAV"
    first, second = read_corpus("crema-d", folder).utterances
    assert (first.gender, first.age, first.race, first.ethnicity) == ("m", 51, "Caucasian", "Not Hispanic")
    assert (second.gender, second.age, second.race) == ("f", 21, None)
    assert read_demographics(folder)["crema-d-1001"] == Demographics("m", 51, "Caucasian", "Not Hispanic")


@pytest.mark.parametrize("place", ["summaryTable.csv", "processedResults/summaryTable.csv"])
def test_crema_d_votes_for_the_voice(tmp_path: Path, place: str) -> None:
    names = ("1001_IEO_DIS_LO", "1001_IEO_FEA_XX", "1001_IEO_HAP_LO")
    for name in names:
        clip(tmp_path / "AudioWAV" / f"{name}.wav")
    table = tmp_path / place
    table.parent.mkdir(exist_ok=True)
    header = '"","FileName","VoiceVote","VoiceLevel","FaceVote","FaceLevel","MultiModalVote","MultiModalLevel"\n'
    table.write_text(
        f'{header}"1","{names[0]}","N","69","D","92","D","64"\n"2","{names[1]}","A:F","1:2","F","9","F","6"\n'
    )
    heard = [utterance.perceived for utterance in read_corpus("crema-d", tmp_path / "AudioWAV").utterances]
    assert heard == ["neutral", "anger:fear", None]
    table.write_text(f'{header}"1","{names[0]}","Q","69","D","92","D","64"\n')
    with pytest.raises(UsageError, match="1001_IEO_DIS_LO: vote 'Q' is not one of A, D, F, H, N, S"):
        read_corpus("crema-d", tmp_path / "AudioWAV")


def test_crema_d_demographics_are_checked(tmp_path: Path) -> None:
    assert read_demographics(tmp_path) == {}
    table = tmp_path / "VideoDemographics.csv"
    table.write_text("ActorID,Age,Sex,Race,Ethnicity\n1001,old,Male,Caucasian,Not Hispanic\n")
    with pytest.raises(UsageError, match="actor 1001: age 'old' is not a whole number"):
        read_demographics(tmp_path)
    table.write_text("ActorID,Age,Gender,Race,Ethnicity\n")
    with pytest.raises(UsageError, match="no column 'Sex'"):
        read_demographics(tmp_path)


@pytest.mark.parametrize("name", ["nemo-transcripts.tsv", "nemo/data.tsv"])
def test_nemo_transcripts_lie_beside_or_above(tmp_path: Path, name: str) -> None:
    clip(tmp_path / "nemo" / "WR0_surprised_64.wav")
    clip(tmp_path / "nemo" / "EB0_neutral_1.wav")
    (tmp_path / name).write_text(
        "file_id\temotion\traw_text\tnormalized_text\tspeaker_id\tgender\tage\n"
        "WR0_surprised_64.wav\tsurprised\tUcho wykrywa dźwięki.\tucho wykrywa dźwięki\tWR0\tmale\t23\n",
        encoding="utf-8",
    )
    without, described = read_corpus("nemo", tmp_path / "nemo").utterances
    assert (described.gender, described.text, described.age) == ("m", "Ucho wykrywa dźwięki.", 23)
    assert (without.gender, without.text) == (None, None)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gbk"])
def test_esd_transcripts_in_any_of_their_encodings(tmp_path: Path, encoding: str) -> None:
    clip(tmp_path / "0001" / "Angry" / "0001_000351.wav")
    clip(tmp_path / "0001" / "Sad" / "0001_001051.wav")
    transcript = "0001_000351\t打远一看,它们的确很是美丽。\t生气\r\n\r\n0001_000352 no tabs\r\n"
    (tmp_path / "0001" / "0001.txt").write_bytes(transcript.encode(encoding))
    angry, sad = read_corpus("esd", tmp_path).utterances
    assert angry.text == "打远一看,它们的确很是美丽。"
    assert sad.text is None


@given(st.binary(max_size=60))
def test_any_esd_transcript_is_read(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    folder = tmp_path_factory.getbasetemp() / "esd-fuzz"
    clip(folder / "0001" / "Angry" / "0001_000351.wav")
    (folder / "0001" / "0001.txt").write_bytes(content)
    assert len(read_corpus("esd", folder).utterances) == 1


def test_esd_speakers_by_language_and_gender() -> None:
    genders = {}
    for speaker in (*MANDARIN, *ENGLISH):
        number = speaker.removeprefix("esd-")
        genders[speaker] = NAMED["esd"].parse(PurePosixPath(f"{number}/Sad/{number}_001051.wav")).gender
    for language in (MANDARIN, ENGLISH):
        assert sorted(str(genders[speaker]) for speaker in language) == ["f"] * 5 + ["m"] * 5
