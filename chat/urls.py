"""Paths of the chat: its pages, accounts, and the answers' HTTP."""

from django.contrib.auth.views import LogoutView
from django.urls import path

from chat import answers, views

urlpatterns = [
    path("", views.home, name="home"),
    path("c/<uuid:conversation_id>/", views.conversation, name="conversation"),
    path("c/<uuid:conversation_id>/rename/", views.rename, name="conversation-rename"),
    path("c/<uuid:conversation_id>/delete/", views.delete, name="conversation-delete"),
    path("history/", views.history, name="history"),
    path("messages", answers.post_message, name="messages"),
    path("answers/<uuid:reply_id>/events", answers.events, name="answer-events"),
    path("answers/<uuid:reply_id>/stop", answers.stop, name="answer-stop"),
    path("answers/<uuid:reply_id>/retry", answers.retry, name="answer-retry"),
    path("answers/<uuid:reply_id>/rating", answers.rating, name="answer-rating"),
    path("accounts/signup/", views.SignUp.as_view(), name="signup"),
    path("accounts/login/", views.LogIn.as_view(), name="login"),
    path("accounts/logout/", LogoutView.as_view(), name="logout"),
]
