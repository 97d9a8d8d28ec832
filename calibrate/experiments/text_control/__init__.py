"""The text control: do the words of a corpus give its emotions away?

A text encoder in place of the speech encoder, with the same kind of head, learns the emotion from the transcript alone.
Where the same sentences are spoken in all emotions it can do no better than chance. Two ways of holding out answer two
questions: *speakers* (the sentences were seen, said by others: is a sentence tied to an emotion by an uneven design?)
and *sentences* (neither was seen: do the words mean an emotion?). That the control can find a leak is shown on the same
transcripts with a leak planted, a random emotion for each sentence, and on texts that are known to carry emotions.
"""

from calibrate.experiments.text_control.experiment import control_text

__all__ = ["control_text"]
