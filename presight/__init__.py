"""Presight: what does a text mixture teach a model to see and hear?"""
