"""First names and surnames that replace speakers and people in training text, so that a model learns to copy a name
from the dialogue instead of remembering the usual ones. Data only.
"""

from __future__ import annotations

FIRST_NAMES = tuple(
    """
    Aaron Abby Adam Aisha Alan Alice Amir Amy Ana Andre Andrew Angela Anita Anna Anton Arthur Ashley Ava Barbara
    Ben Bella Beth Betty Bill Bob Brad Brenda Brian Bruce Carl Carla Carlos Carmen Caroline Cathy Charles Chen
    Chloe Chris Clara Claire Colin Craig Cynthia Dan Dana Daniel David Dean Deborah Dennis Diana Diego Donna
    Doris Doug Dylan Ed Edith Elena Eli Ella Ellen Emily Emma Eric Erica Ethan Eva Evan Fatima Fiona Frank Fred
    Gary George Gina Grace Greg Hanna Harry Hassan Heather Helen Henry Holly Hugo Ian Ingrid Irene Isaac Isabel
    Ivan Jack Jacob James Jamal Jane Janet Jason Jean Jeff Jenny Jerry Jessica Jim Joan Joe John Jordan Jose
    Josh Joyce Juan Judy Julia Julie Karen Karl Kate Kathy Keith Kelly Ken Kevin Kim Kofi Kyle Lara Larry Laura
    Lena Leo Leon Lily Linda Lisa Liz Louis Lucas Lucy Luis Lynn Maggie Marco Maria Marie Mark Martha Martin
    Mary Matt Maya Megan Mei Mia Michael Mike Miguel Mina Molly Monica Nadia Nancy Naomi Nathan Neil Nick Nina
    Noah Nora Oliver Olivia Omar Oscar Pam Pat Paul Paula Pedro Peter Phil Priya Rachel Raj Ralph Ravi Ray
    Rebecca Rick Rita Rob Robert Roger Ron Rosa Rose Ruth Ryan Sally Sam Samir Sandra Sara Sarah Scott Sean
    Sharon Simon Sofia Sophie Stella Steve Steven Sue Susan Tara Ted Terry Theo Tim Tina Todd Tom Tony Tracy Uma
    Vera Vicky Victor Vincent Wendy Will William Xavier Yuki Yusuf Zach Zoe
    """.split()
)

SURNAMES = tuple(
    """
    Adams Allen Anderson Bailey Baker Barnes Bell Bennett Brooks Brown Bryant Butler Campbell Carter Chang Chen
    Clark Cole Collins Cook Cooper Cox Cruz Davis Diaz Edwards Evans Fisher Flores Foster Garcia Gibson Gomez
    Gordon Graham Gray Green Griffin Hall Hamilton Harris Harrison Hayes Henderson Hill Howard Hughes Hunt
    Jackson James Jenkins Johnson Jones Jordan Kelly Kennedy Khan Kim King Kumar Lee Lewis Li Lin Long Lopez
    Marshall Martin Martinez Mason Miller Mitchell Moore Morgan Morris Murphy Murray Myers Nelson Nguyen Ortiz
    Owens Parker Patel Perez Perry Peters Peterson Phillips Porter Powell Price Ramirez Reed Reyes Reynolds Rice
    Richards Rivera Roberts Robinson Rogers Ross Russell Ryan Sanders Santos Scott Shaw Silva Simmons Singh
    Smith Stevens Stewart Stone Sullivan Tanaka Taylor Thomas Thompson Tucker Turner Walker Wallace Wang Ward
    Warren Watson Webb Wells West White Williams Wilson Wood Wright Wu Yang Young Zhang
    """.split()
)
